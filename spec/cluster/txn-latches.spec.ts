import { expect } from 'chai';
import fc from 'fast-check';
import { type Latched, Latches } from '../../cluster/store/txn/latches.js';

interface Command extends Latched {
  readonly id: number;
}

const command = (id: number, latches: readonly string[]): Command => ({ id, latches, ahead: 0 });

describe('latches', () => {
  it('give free keys at once, and keys in use in the order of arrival', () => {
    const latches = new Latches<Command>();
    const [a, b, c] = [command(1, ['k']), command(2, ['k', 'l']), command(3, ['l'])];
    expect([latches.acquire(a), latches.acquire(b), latches.acquire(c)]).to.deep.equal([true, false, false]);
    const ready: number[] = [];
    latches.release(a, ({ id }) => ready.push(id));
    latches.release(b, ({ id }) => ready.push(id));
    expect(ready).to.deep.equal([2, 3]);
    latches.release(c, ({ id }) => ready.push(id));
    expect([ready, latches.size]).to.deep.equal([[2, 3], 0]);
  });

  it('let a command go that waits, and do not count it for those behind it', () => {
    const latches = new Latches<Command>();
    const [a, b, c] = [command(1, ['k']), command(2, ['k']), command(3, ['k'])];
    for (const one of [a, b, c]) latches.acquire(one);
    const ready: number[] = [];
    latches.release(b, ({ id }) => ready.push(id));
    expect(ready).to.deep.equal([]);
    latches.release(a, ({ id }) => ready.push(id));
    expect(ready).to.deep.equal([3]);
    latches.release(c, () => {});
    expect(latches.size).to.equal(0);
  });

  it('never give a key to two, serve each key in order, and end empty, whatever comes and goes', () => {
    const keys = fc.uniqueArray(fc.constantFrom('a', 'b', 'c', 'd', 'e'), { minLength: 1, maxLength: 4 });
    const step = fc.oneof(
      keys.map((some) => ({ kind: 'acquire' as const, keys: some })),
      fc.nat(50).map((which) => ({ kind: 'release' as const, which })),
      fc.nat(50).map((which) => ({ kind: 'withdraw' as const, which })),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const latches = new Latches<Command>();
        const running = new Set<Command>();
        const waiting: Command[] = [];
        let next = 0;
        const start = (one: Command) => {
          for (const other of running)
            expect(other.latches.filter((key) => one.latches.includes(key))).to.deep.equal([]);
          const before = waiting.slice(0, waiting.indexOf(one));
          // Nobody who came earlier for one of its keys is still waiting.
          if (waiting.includes(one))
            for (const other of before)
              expect(other.latches.some((key) => one.latches.includes(key))).to.equal(false);
          if (waiting.includes(one)) waiting.splice(waiting.indexOf(one), 1);
          running.add(one);
        };
        const release = (one: Command) => {
          running.delete(one);
          latches.release(one, start);
        };
        for (const one of steps) {
          if (one.kind === 'acquire') {
            const added = command(next++, one.keys);
            const blocked = [...running, ...waiting].some((other) =>
              other.latches.some((key) => added.latches.includes(key)),
            );
            expect(latches.acquire(added)).to.equal(!blocked);
            if (blocked) waiting.push(added);
            else start(added);
          } else if (one.kind === 'release') {
            const chosen = [...running][one.which % Math.max(1, running.size)];
            if (chosen !== undefined) release(chosen);
          } else {
            const chosen = waiting[one.which % Math.max(1, waiting.length)];
            if (chosen === undefined) continue;
            waiting.splice(waiting.indexOf(chosen), 1);
            latches.release(chosen, start);
          }
        }
        // No deadlock: as long as somebody waits, somebody runs.
        while (running.size > 0) for (const one of [...running]) release(one);
        expect([waiting.length, latches.size]).to.deep.equal([0, 0]);
      }),
    );
  });
});
