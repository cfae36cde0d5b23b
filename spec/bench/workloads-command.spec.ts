import { expect } from 'chai';
import type { TransactionalTarget } from '../../cluster/bench/transactional.js';
import {
  parseWorkloads,
  runWorkloads,
  type WorkloadsRun,
  workloadCells,
  workloadJson,
} from '../../cluster/cli/bench-workloads.js';
import type { Database } from '../../cluster/index.js';
import { MemoryTransactions } from './memory-transactions.js';

const RUN: WorkloadsRun = {
  workloads: ['A', 'C', 'E'],
  mode: 'txn',
  distribution: undefined,
  clients: [1, 4],
  seconds: 60,
  warmupSeconds: 0,
  operations: 100,
  records: 50,
  valueBytes: 10,
  seed: 1,
  prefix: 'bench/',
};

/** A database of which only transactions are used. */
function databaseOf(target: TransactionalTarget): Pick<Database, 'raw'> & TransactionalTarget {
  return {
    transaction: (work) => target.transaction(work),
    snapshot: () => target.snapshot(),
    get raw(): Database['raw'] {
      throw new Error('nothing of the raw space is asked for');
    },
  };
}

describe('troupe bench --workload', () => {
  it('loads, runs every workload with every number of clients, and leaves nothing behind', async () => {
    const memory = new MemoryTransactions();
    const told: string[] = [];
    const rows = await runWorkloads(databaseOf(memory), RUN, (what) => told.push(what));
    expect(told).to.deep.equal([
      'loading 50 records',
      ...['A', 'C', 'E'].flatMap((name) => [`workload ${name}, 1 clients`, `workload ${name}, 4 clients`]),
      'removing the records',
    ]);
    expect(rows.map(({ workload, clients, result }) => [workload, clients, result.operations])).to.deep.equal(
      [
        ['load', undefined, 50],
        ...['A', 'C', 'E'].flatMap((name) => [
          [name, 1, 100],
          [name, 4, 100],
        ]),
      ],
    );
    expect(memory.size).to.equal(0);
  });

  it('removes the records also when it fails', async () => {
    const memory = new MemoryTransactions();
    let transactions = 0;
    const failing: TransactionalTarget = {
      transaction: (work) =>
        transactions++ === 30 ? Promise.reject(new Error('no store answered')) : memory.transaction(work),
      snapshot: () => memory.snapshot(),
    };
    const failed = await runWorkloads(databaseOf(failing), RUN, () => {}).catch(String);
    expect(failed).to.equal('Error: no store answered');
    expect(memory.commits).to.be.above(1);
    expect(memory.size).to.equal(0);
  });

  it('prints a line for each workload and, where there are several, for each of its operations', async () => {
    const rows = await runWorkloads(databaseOf(new MemoryTransactions()), { ...RUN, clients: [1] }, () => {});
    const cells = workloadCells(rows, 'txn');
    expect(cells.map((line) => line.slice(0, 3))).to.deep.equal([
      ['workload', 'clients', 'operation'],
      ['load', '', 'all'],
      ['A', '1', 'all'],
      ['A', '1', 'read'],
      ['A', '1', 'update'],
      ['C', '1', 'all'],
      ['E', '1', 'all'],
      ['E', '1', 'insert'],
      ['E', '1', 'scan'],
    ]);
    expect(new Set(cells.map((line) => line.length))).to.deep.equal(new Set([9]));
    expect(new Set(workloadCells(rows, 'raw').map((line) => line.length))).to.deep.equal(new Set([8]));
  });

  it('is complete as JSON', async () => {
    const run = { ...RUN, workloads: ['F'] as const, clients: [1], distribution: 'latest' as const };
    const rows = await runWorkloads(databaseOf(new MemoryTransactions()), run, () => {});
    const [load, one]: unknown[] = JSON.parse(JSON.stringify(rows.map(workloadJson)));
    const figures = ['operations', 'opsPerSecond', 'p50', 'p99', 'max'];
    expect(one).to.have.keys(
      'workload',
      'distribution',
      'clients',
      ...figures,
      'errors',
      'retries',
      'byOperation',
    );
    expect(one).to.include({ workload: 'F', distribution: 'latest', clients: 1, operations: 100, errors: 0 });
    expect(one).to.have.nested.property('byOperation.read').with.keys(figures);
    expect(one).to.have.nested.property('byOperation.read-modify-write').with.keys(figures);
    expect(load).to.include({ workload: 'load', distribution: null, clients: null, operations: 50 });
  });

  it('takes workloads in either case, and says which it does not know', () => {
    expect(parseWorkloads('a, F')).to.deep.equal(['A', 'F']);
    expect(() => parseWorkloads('A,G')).to.throw('--workload: "G" is not one of A, B, C, D, E, F');
  });
});
