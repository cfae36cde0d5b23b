import { expect } from 'chai';
import { NO_MARKS } from '../../cluster/bench/load-loop.js';
import { Pairs, type PairTarget, TransactionalPairs } from '../../cluster/bench/pairs.js';
import { benchKeys } from '../../cluster/bench/workload.js';
import { MemoryTransactions } from './memory-transactions.js';

const KEYS = benchKeys(250);
const VALUE_BYTES = 24;
const RUN = { clients: 16, warmupSeconds: 0, seconds: 60, limit: 500 };

function pairsOver(memory: MemoryTransactions, changed: Partial<PairTarget> = {}, keys = KEYS): Pairs {
  const target = new TransactionalPairs(memory, async () => {});
  return new Pairs(Object.assign(target, changed), keys, VALUE_BYTES);
}

async function failureOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => 'none',
    (error: unknown) => String(error),
  );
}

describe('the load of two keys a transaction', () => {
  it('updates a key below the middle and one above it, each counted once', async () => {
    const memory = new MemoryTransactions();
    const pairs = pairsOver(memory);
    await pairs.load();
    expect(memory.size).to.equal(KEYS.length);
    const loads = memory.commits;
    const { operations, errors, retries } = await pairs.run(RUN, NO_MARKS);
    expect([operations, errors]).to.deep.equal([RUN.limit, 0]);
    expect(memory.commits - loads).to.equal(RUN.limit);
    expect(retries).to.equal(memory.conflicts);
    await pairs.check();
    await pairs.run({ ...RUN, limit: 10 }, NO_MARKS);
    await pairs.check();
  });

  it('counts conflicts where clients want the same two keys, and loses nothing', async () => {
    const memory = new MemoryTransactions();
    const pairs = pairsOver(memory, {}, benchKeys(2));
    await pairs.load();
    const { retries } = await pairs.run({ ...RUN, limit: 100 }, NO_MARKS);
    expect(retries).to.be.above(0).and.equal(memory.conflicts);
    await pairs.check();
  });

  it('notices an update that was lost', async () => {
    const memory = new MemoryTransactions();
    const target = new TransactionalPairs(memory, async () => {});
    // Reads and writes that nothing holds together.
    const update: PairTarget['update'] = async (keys, change) => {
      const values = await target.read(keys);
      await target.write(keys.map((key, index) => [key, change(values[index])] as const));
    };
    const pairs = pairsOver(memory, { update }, benchKeys(2));
    await pairs.load();
    await pairs.run(RUN, NO_MARKS);
    expect(await failureOf(pairs.check())).to.match(/^Error: 500 to 500 transactions .* updates were lost/);
  });

  it('notices an update of which half was written', async () => {
    const memory = new MemoryTransactions();
    const target = new TransactionalPairs(memory, async () => {});
    let updates = 0;
    const pairs = pairsOver(memory, {
      update: (keys, change) => target.update(updates++ === 7 ? keys.slice(0, 1) : keys, change),
    });
    await pairs.load();
    await pairs.run(RUN, NO_MARKS);
    expect(await failureOf(pairs.check())).to.include('sums are 500 and 499');
  });

  it('allows that an update that failed has happened', async () => {
    const memory = new MemoryTransactions();
    const target = new TransactionalPairs(memory, async () => {});
    let updates = 0;
    const pairs = pairsOver(memory, {
      update: async (keys, change) => {
        const turn = updates++ % 50;
        if (turn === 1) throw new Error('no store answered');
        await target.update(keys, change);
        if (turn === 2) throw new Error('nobody knows');
      },
    });
    await pairs.load();
    const { errors } = await pairs.run(RUN, NO_MARKS);
    expect(errors).to.equal(20);
    await pairs.check();
  });
});
