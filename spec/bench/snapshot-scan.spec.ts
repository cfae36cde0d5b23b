import { expect } from 'chai';
import { loadRows, scanRows } from '../../cluster/bench/snapshot-scan.js';
import type { TransactionalTarget } from '../../cluster/bench/transactional.js';
import { MemoryTransactions } from './memory-transactions.js';

const ROWS = { keys: 450, valueBytes: 16 };

describe('the scan of a snapshot', () => {
  it('reads every row, in a snapshot of its own each time, and closes it', async () => {
    const memory = new MemoryTransactions();
    await loadRows(memory, 'scan/', ROWS);
    await loadRows(memory, 'scan0', { ...ROWS, keys: 3 });
    expect(memory.size).to.equal(453);
    let opened = 0;
    const target: TransactionalTarget = {
      transaction: (work) => memory.transaction(work),
      snapshot: () => {
        opened++;
        return memory.snapshot();
      },
    };
    // Scans take 5, 10 and 20 ms of this clock.
    const moments = [0, 5, 100, 110, 200, 220];
    const figures = await scanRows(target, 'scan/', { ...ROWS, times: 3 }, () => moments.shift() ?? 0);
    expect(figures).to.deep.equal({ ...ROWS, keysPerSecond: [90_000, 45_000, 22_500] });
    expect(opened).to.equal(3);
    expect(memory.open).to.equal(0);
  });

  it('does not take a row too few, too many or too short for a scan', async () => {
    const memory = new MemoryTransactions();
    await loadRows(memory, 'scan/', ROWS);
    const failure = (changed: Partial<typeof ROWS>): Promise<unknown> =>
      scanRows(memory, 'scan/', { ...ROWS, ...changed, times: 1 }).catch(String);
    expect(await failure({ keys: 451 })).to.equal('Error: a scan of 451 keys gave 450');
    expect(await failure({ keys: 449 })).to.equal('Error: a scan of 449 keys gave 450');
    expect(await failure({ valueBytes: 15 })).to.match(/^Error: scan\/0+ came back wrong/);
    expect(memory.open).to.equal(0);
  });

  it('does not take rows out of order', async () => {
    const memory = new MemoryTransactions();
    await loadRows(memory, 'scan/', ROWS);
    const target: TransactionalTarget = {
      transaction: (work) => memory.transaction(work),
      snapshot: async () => {
        const snapshot = await memory.snapshot();
        return {
          ...snapshot,
          scan: async function* (range) {
            const entries = [];
            for await (const entry of snapshot.scan(range)) entries.push(entry);
            yield* entries.reverse();
          },
        };
      },
    };
    expect(await scanRows(target, 'scan/', { ...ROWS, times: 1 }).catch(String)).to.match(/out of order$/);
  });
});
