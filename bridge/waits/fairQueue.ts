/** A queue in which owners take turns, however much any of them has in it. */
export class FairQueue<Item> {
  /** By owner, the next one first. */
  readonly #items = new Map<string, Item[]>();

  push(owner: string, item: Item): void {
    const items = this.#items.get(owner);
    if (items === undefined) this.#items.set(owner, [item]);
    else items.push(item);
  }

  shift(): Item | undefined {
    for (const [owner, items] of this.#items) {
      const item = items.shift();
      this.#items.delete(owner);
      if (items.length > 0) this.#items.set(owner, items);
      return item;
    }
    return undefined;
  }
}
