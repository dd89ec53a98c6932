/** Items waiting for a number to be reached, lowest first: a binary heap. */
export class Threshold<Item> {
  #heap: { readonly at: number; readonly item: Item }[] = [];

  get size(): number {
    return this.#heap.length;
  }

  /** Forgets the other items. */
  keep(isWanted: (item: Item) => boolean): void {
    // A sorted list is a heap.
    this.#heap = this.#heap.filter(({ item }) => isWanted(item)).sort((one, other) => one.at - other.at);
  }

  add(at: number, item: Item): void {
    const heap = this.#heap;
    let index = heap.push({ at, item }) - 1;
    for (let parent = (index - 1) >> 1; index > 0 && this.#at(parent) > at; parent = (index - 1) >> 1) {
      this.#swap(index, parent);
      index = parent;
    }
  }

  /** Takes the items of all numbers up to this one, in order. */
  *reach(number: number): Generator<Item> {
    for (let first = this.#heap[0]; first !== undefined && first.at <= number; first = this.#heap[0]) {
      this.#removeFirst();
      yield first.item;
    }
  }

  #removeFirst(): void {
    const last = this.#heap.pop();
    if (last === undefined || this.#heap.length === 0) return;
    this.#heap[0] = last;
    for (let index = 0; ;) {
      const left = 2 * index + 1;
      const lower = this.#at(left + 1) < this.#at(left) ? left + 1 : left;
      if (this.#at(lower) >= last.at) return;
      this.#swap(index, lower);
      index = lower;
    }
  }

  /** Infinity where there is none. */
  #at(index: number): number {
    return this.#heap[index]?.at ?? Infinity;
  }

  #swap(one: number, other: number): void {
    const heap = this.#heap;
    const [first, second] = [heap[one], heap[other]];
    if (first === undefined || second === undefined) return;
    [heap[one], heap[other]] = [second, first];
  }
}
