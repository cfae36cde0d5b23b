import { expect } from 'chai';
import fc from 'fast-check';
import { MemoryLock, MemoryLocks } from '../../cluster/store/txn/memory-locks.js';
import { nameOfKey } from '../../storage/keys.js';

const bytes = (text: string) => new Uint8Array(Buffer.from(text));

describe('locks in memory', () => {
  it('say of any range what a look at all of them would', () => {
    const key = fc.string({ minLength: 1, maxLength: 2, unit: fc.constantFrom('a', 'b', 'c', 'd', 'e') });
    const keys = fc.uniqueArray(key, { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(
        fc.array(fc.record({ keys, floor: fc.bigInt(1n, 9n) }), { maxLength: 6 }),
        fc.array(fc.nat(5), { maxLength: 4 }),
        fc.oneof(fc.constant(''), key),
        fc.oneof(fc.constant(''), key),
        fc.bigInt(1n, 9n),
        (added, removed, start, end, ts) => {
          const locks = new MemoryLocks();
          const all: MemoryLock[] = [];
          const taken = new Set<string>();
          for (const one of added) {
            // Latches keep the keys of two apart.
            const free = one.keys.filter((name) => !taken.has(name));
            for (const name of free) taken.add(name);
            const lock = new MemoryLock(
              free.map((name) => nameOfKey(bytes(name))),
              1n,
              one.floor,
            );
            all.push(lock);
            locks.add(lock);
          }
          const gone = new Set(removed.flatMap((i) => all[i] ?? []));
          for (const lock of gone) locks.remove(lock);
          const left = all.filter((lock) => !gone.has(lock));
          const blocks = ({ commitFloor }: MemoryLock) => commitFloor <= ts;
          const inside = left
            .flatMap((lock) => lock.keys.map((name) => ({ name, lock })))
            .filter(({ name, lock }) => name >= start && (end === '' || name < end) && blocks(lock))
            .sort((a, b) => (a.name < b.name ? -1 : 1));
          expect(locks.inRange(bytes(start), bytes(end), blocks)).to.equal(inside[0]?.lock);
          expect(locks.size).to.equal(left.reduce((sum, lock) => sum + lock.keys.length, 0));
        },
      ),
    );
  });

  it('are looked at only where the range is', () => {
    const locks = new MemoryLocks();
    for (let i = 0; i < 100; i++) {
      const keys = Array.from({ length: 1_000 }, (_, j) => nameOfKey(bytes(`${100 + i}/${1_000 + j}`)));
      locks.add(new MemoryLock(keys, 1n, 1n));
    }
    // Through all 100,000 keys each time it would take a minute.
    const began = performance.now();
    for (let i = 0; i < 20_000; i++)
      expect(
        locks.inRange(bytes(`150/${1_000 + (i % 990)}`), bytes(`150/${1_004 + (i % 990)}`), () => false),
      ).to.equal(undefined);
    expect(performance.now() - began).to.be.below(20_000);
  }).timeout(60_000);
});
