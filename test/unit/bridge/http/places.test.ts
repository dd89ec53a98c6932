import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { describe, test } from 'node:test';
import { Places, type Phase } from '../../../../bridge/http/places.ts';

const PATIENCE_MS = 1_000;

/** Places with a clock of their own, and connections by number. */
function openPlaces(most: number) {
  let now = 0;
  let port = 0;
  const places = new Places({ most, patienceMs: PATIENCE_MS, now: () => now });
  const served: string[] = [];
  const ended: string[] = [];
  const sockets = new Map<string, Socket>();
  const arrive = (name: string, remoteAddress = '10.0.0.1'): void => {
    const socket = Object.assign(new EventEmitter(), {
      remoteAddress,
      remotePort: ++port,
      destroy() {
        if (ended.includes(name)) return;
        ended.push(name);
        // As sockets do it: not before the caller goes on.
        queueMicrotask(() => socket.emit('close'));
      },
    }) as unknown as Socket;
    sockets.set(name, socket);
    places.admit(socket, () => served.push(name));
  };
  return {
    places,
    served,
    ended,
    arrive,
    note: (name: string, phase: Phase) => places.note(sockets.get(name)!, phase),
    leave: async (name: string) => {
      sockets.get(name)!.destroy();
      await Promise.resolve();
    },
    /** Time passes, and somebody else comes. */
    passUntil: (ms: number, name: string, address?: string) => {
      now += ms;
      arrive(name, address);
    },
  };
}

describe('Places', () => {
  test('are had at once while there are some, and then in order', async () => {
    const { arrive, served, leave, places } = openPlaces(2);
    for (const name of ['a', 'b', 'c', 'd']) arrive(name);
    assert.deepEqual(served, ['a', 'b']);
    assert.equal(places.isCrowded, true);
    await leave('b');
    await leave('a');
    assert.deepEqual(served, ['a', 'b', 'c', 'd']);
    assert.equal(places.isCrowded, false);
  });

  test('are given up at once by who has an answer, the longest idle first', () => {
    const { arrive, served, ended, note, passUntil } = openPlaces(2);
    arrive('a');
    arrive('b');
    note('b', 'answered');
    passUntil(10, 'c');
    assert.deepEqual([served, ended], [['a', 'b', 'c'], ['b']]);
    arrive('d');
    assert.deepEqual(ended, ['b']);
    note('c', 'answered');
    assert.deepEqual(
      [served, ended],
      [
        ['a', 'b', 'c', 'd'],
        ['b', 'c'],
      ],
    );
  });

  test('are taken from slow ones once someone has waited, and not from those being handled', () => {
    const { arrive, served, ended, note, passUntil } = openPlaces(2);
    arrive('worked');
    note('worked', 'handling');
    arrive('slow');
    arrive('waits');
    passUntil(PATIENCE_MS - 1, 'waits too');
    assert.deepEqual([served, ended], [['worked', 'slow'], []]);
    passUntil(1, 'waits three');
    assert.deepEqual([served, ended], [['worked', 'slow', 'waits'], ['slow']]);
  });

  test('go to the address that has the fewest', async () => {
    const { arrive, served, leave } = openPlaces(2);
    for (const name of ['a1', 'a2', 'a3']) arrive(name, '10.0.0.1');
    arrive('b1', '10.0.0.2');
    await leave('a1');
    assert.deepEqual(served, ['a1', 'a2', 'b1']);
  });

  test('are taken from the address that has most', () => {
    const { arrive, ended, passUntil } = openPlaces(3);
    arrive('b1', '10.0.0.2');
    arrive('a1', '10.0.0.1');
    arrive('a2', '10.0.0.1');
    arrive('c1', '10.0.0.3');
    passUntil(PATIENCE_MS, 'c2', '10.0.0.3');
    assert.deepEqual(ended, ['a1']);
  });

  test('are not waited for by who has gone', async () => {
    const { arrive, served, leave } = openPlaces(1);
    for (const name of ['a', 'b', 'c']) arrive(name);
    await leave('b');
    await leave('a');
    assert.deepEqual(served, ['a', 'c']);
  });

  test('have a limited queue: the address with the most waiting loses its first', () => {
    const { arrive, ended, served } = openPlaces(1);
    arrive('a0');
    arrive('b1', '10.0.0.2');
    for (let index = 1; index <= 4; index++) arrive(`a${index}`);
    assert.deepEqual(ended, ['a1']);
    assert.deepEqual(served, ['a0']);
  });

  test('end with those that wait', () => {
    const { arrive, ended, places } = openPlaces(1);
    for (const name of ['a', 'b', 'c']) arrive(name);
    places.close();
    assert.deepEqual(ended, ['b', 'c']);
  });
});
