import { expect } from 'chai';
import { type RecordTarget, type Scanned, TransactionalRecords } from '../../cluster/bench/record-targets.js';
import type { BenchRange } from '../../cluster/bench/transactional.js';
import {
  loadRecords,
  MIXES,
  runWorkload,
  WORKLOADS,
  YCSB_OPERATIONS,
  YcsbRecords,
  type YcsbRun,
} from '../../cluster/bench/ycsb.js';
import { MemoryTransactions } from './memory-transactions.js';

const RECORDS = 200;
const VALUE_BYTES = 20;
const PREFIX = 'bench/';

const RUN: Omit<YcsbRun, 'workload'> = { clients: 1, warmupSeconds: 0, seconds: 60, limit: 1_000, seed: 1 };

async function loaded(): Promise<{ memory: MemoryTransactions; target: RecordTarget; records: YcsbRecords }> {
  const memory = new MemoryTransactions();
  const target = new TransactionalRecords(memory);
  const records = new YcsbRecords(PREFIX, VALUE_BYTES);
  await loadRecords(target, records, RECORDS);
  return { memory, target, records };
}

/** Passes everything on and notes what it was. */
class Tapped implements RecordTarget {
  readonly seen: string[] = [];
  readonly scans: number[] = [];
  readonly #target: RecordTarget;

  constructor(target: RecordTarget) {
    this.#target = target;
  }

  get retries(): number {
    return this.#target.retries;
  }

  read(key: Uint8Array): Promise<Uint8Array | undefined> {
    this.#note('read', key);
    return this.#target.read(key);
  }

  write(key: Uint8Array, value: Uint8Array): Promise<unknown> {
    this.#note('write', key);
    return this.#target.write(key, value);
  }

  scan(range: BenchRange): Promise<Scanned> {
    this.#note('scan', range.start);
    this.scans.push(range.limit ?? 0);
    return this.#target.scan(range);
  }

  readModifyWrite(key: Uint8Array, value: Uint8Array): Promise<Uint8Array | undefined> {
    this.#note('read-modify-write', key);
    return this.#target.readModifyWrite(key, value);
  }

  remove(keys: readonly Uint8Array[]): Promise<unknown> {
    return this.#target.remove(keys);
  }

  #note(what: string, key: Uint8Array): void {
    this.seen.push(`${what} ${Buffer.from(key)}`);
  }
}

describe("YCSB's workloads", () => {
  it('have shares that make up a whole', () => {
    for (const workload of WORKLOADS) {
      const { shares } = MIXES[workload];
      const sum = YCSB_OPERATIONS.reduce((all, operation) => all + (shares[operation] ?? 0), 0);
      expect(sum, workload).to.equal(1);
    }
  });

  for (const workload of WORKLOADS) {
    it(`${workload} makes the requests that it should, all answered, as many as it was told`, async () => {
      const { target, records } = await loaded();
      const { kinds, operations, errors, firstError } = await runWorkload(target, records, {
        ...RUN,
        workload,
      });
      expect([firstError, errors, operations]).to.deep.equal([undefined, 0, RUN.limit]);
      const { shares } = MIXES[workload];
      expect([...kinds.keys()].sort()).to.deep.equal(Object.keys(shares).sort());
      for (const [operation, { operations: count }] of kinds) {
        // Four standard deviations of 1,000 draws are 6.3 % at most.
        expect(count / operations).to.be.closeTo(shares[operation] ?? 0, 0.063);
      }
      const inserted = kinds.get('insert')?.operations ?? 0;
      expect(records.present).to.equal(RECORDS + inserted);
    });
  }

  it('make the same requests from the same seed, and others from another', async () => {
    for (const workload of WORKLOADS) {
      const requests = async (seed: number): Promise<string[]> => {
        const { target, records } = await loaded();
        const tapped = new Tapped(target);
        await runWorkload(tapped, records, { ...RUN, limit: 50, workload, seed });
        return tapped.seen;
      };
      const first = await requests(1);
      expect(first).to.have.length(50);
      expect(await requests(1)).to.deep.equal(first);
      expect(await requests(2)).not.to.deep.equal(first);
    }
  });

  it('read the latest most in D, and scan 1 to 100 records in E', async () => {
    const { target, records } = await loaded();
    const tapped = new Tapped(target);
    await runWorkload(tapped, records, { ...RUN, workload: 'D' });
    let age0 = 0;
    let newest = RECORDS - 1;
    for (const request of tapped.seen) {
      const [what, key] = request.split(' ');
      if (what === 'write') newest++;
      else if (key === Buffer.from(records.key(newest)).toString()) age0++;
    }
    // One in zeta(200 to 300) = 5.9 to 6.3.
    expect(age0 / tapped.seen.length).to.be.within(0.11, 0.21);
    await runWorkload(tapped, records, { ...RUN, workload: 'E' });
    expect(Math.min(...tapped.scans)).to.equal(1);
    expect(Math.max(...tapped.scans)).to.equal(100);
    const mean = tapped.scans.reduce((sum, one) => sum + one, 0) / tapped.scans.length;
    expect(mean).to.be.closeTo(50.5, 4);
  });

  it('count the conflicts that clients have with each other as retries', async () => {
    const { memory, target, records } = await loaded();
    const { retries, errors } = await runWorkload(target, records, { ...RUN, clients: 16, workload: 'F' });
    expect(errors).to.equal(0);
    expect(retries).to.be.above(0).and.equal(memory.conflicts);
  });

  it('write an insert that failed with the next one, and leave no gap', async () => {
    const { target, records } = await loaded();
    const tapped = new Tapped(target);
    let writes = 0;
    const failing = Object.assign(new Tapped(target), {
      write: (key: Uint8Array, value: Uint8Array) =>
        writes++ % 3 === 0 ? Promise.reject(new Error('no store answered')) : tapped.write(key, value),
    });
    const { errors, firstError } = await runWorkload(failing, records, {
      ...RUN,
      clients: 4,
      limit: 400,
      workload: 'D',
    });
    expect(errors).to.be.above(0);
    expect(firstError).to.equal('no store answered');
    const written = tapped.seen.length;
    expect(new Set(tapped.seen).size).to.equal(written);
    expect(records.present).to.be.within(RECORDS + written - 4, RECORDS + written);
  });

  it('end their load phase with the first error', async () => {
    const { target } = await loaded();
    let writes = 0;
    const full = Object.assign(new Tapped(target), {
      write: () => Promise.reject(new Error(`write ${++writes}`)),
    });
    const failed = await loadRecords(full, new YcsbRecords(PREFIX, VALUE_BYTES), RECORDS).catch(
      (error: unknown) => error,
    );
    expect(failed).to.be.an('error').with.property('message', 'write 1');
    expect(writes).to.be.below(RECORDS);
  });

  it('remove what they wrote', async () => {
    const { memory, target, records } = await loaded();
    await runWorkload(target, records, { ...RUN, workload: 'D' });
    expect(memory.size).to.equal(records.present);
    await records.removeFrom(target);
    expect(memory.size).to.equal(0);
  });

  it('say which record came back wrong', async () => {
    const { target, records } = await loaded();
    const cut = Object.assign(new Tapped(target), {
      read: async (key: Uint8Array) => (await target.read(key))?.subarray(1),
    });
    const { operations, firstError } = await runWorkload(cut, records, { ...RUN, limit: 3, workload: 'C' });
    expect(operations).to.equal(0);
    expect(firstError).to.match(/^bench\/user\d+ came back wrong$/);
  });
});
