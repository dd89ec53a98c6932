import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { describe, test } from 'node:test';
import { Places, type Phase } from '../../../../bridge/http/places.ts';

const PATIENCE_MS = 1_000;

/** Places with a clock of their own, and connections by name. */
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
        // Like a real socket, not before the caller continues.
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
    /** Lets time pass; then another connection arrives. */
    passUntil: (ms: number, name: string, address?: string) => {
      now += ms;
      arrive(name, address);
    },
  };
}

describe('Places', () => {
  test('are given at once while some are free, then in order of arrival', async () => {
    const { arrive, served, leave, places } = openPlaces(2);
    for (const name of ['a', 'b', 'c', 'd']) arrive(name);
    assert.deepEqual(served, ['a', 'b']);
    assert.equal(places.isCrowded, true);
    await leave('b');
    await leave('a');
    assert.deepEqual(served, ['a', 'b', 'c', 'd']);
    assert.equal(places.isCrowded, false);
  });

  test('are taken at once from answered connections, the longest idle first', () => {
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

  test('are taken from slow connections after a wait, but not from those being handled', () => {
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

  test('go to the address with the fewest', async () => {
    const { arrive, served, leave } = openPlaces(2);
    for (const name of ['a1', 'a2', 'a3']) arrive(name, '10.0.0.1');
    arrive('b1', '10.0.0.2');
    await leave('a1');
    assert.deepEqual(served, ['a1', 'a2', 'b1']);
  });

  test('are taken from the address with the most', () => {
    const { arrive, ended, passUntil } = openPlaces(3);
    arrive('b1', '10.0.0.2');
    arrive('a1', '10.0.0.1');
    arrive('a2', '10.0.0.1');
    arrive('c1', '10.0.0.3');
    passUntil(PATIENCE_MS, 'c2', '10.0.0.3');
    assert.deepEqual(ended, ['a1']);
  });

  test('are not given to a waiting connection that has closed', async () => {
    const { arrive, served, leave } = openPlaces(1);
    for (const name of ['a', 'b', 'c']) arrive(name);
    await leave('b');
    await leave('a');
    assert.deepEqual(served, ['a', 'c']);
  });

  test('have a limited queue: the address with the most waiting loses its oldest', () => {
    const { arrive, ended, served } = openPlaces(1);
    arrive('a0');
    arrive('b1', '10.0.0.2');
    for (let index = 1; index <= 4; index++) arrive(`a${index}`);
    assert.deepEqual(ended, ['a1']);
    assert.deepEqual(served, ['a0']);
  });

  test('end the waiting connections when they close', () => {
    const { arrive, ended, places } = openPlaces(1);
    for (const name of ['a', 'b', 'c']) arrive(name);
    places.close();
    assert.deepEqual(ended, ['b', 'c']);
  });
});
