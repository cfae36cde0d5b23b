import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import type { ConfState, Entry, TermBoundary } from '../../machines/raft/types.js';
import { type Engine, openRocksEngine, RaftLog, SimulatedDisk, StorageError } from '../../storage/index.js';
import { seeded } from './seeded.js';

const CONF: ConfState = {
  voters: [1, 2, 3],
  votersOutgoing: [],
  learners: [4],
  learnersNext: [],
  autoLeave: false,
};
const GROUP = 7;

function entry(index: number, term: number, data = `e${index}.${term}`): Entry {
  return { index, term, type: 0, data: Uint8Array.from(Buffer.from(data)) };
}

function entries(from: number, terms: readonly number[]): Entry[] {
  return terms.map((term, i) => entry(from + i, term));
}

async function rejection(promise: Promise<unknown>): Promise<StorageError> {
  const error = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).to.be.instanceOf(StorageError);
  return error as StorageError;
}

function describeRaftLog(
  name: string,
  open: () => Promise<{ engine: Engine; close(): Promise<void> }>,
): void {
  describe(`Raft log on ${name}`, () => {
    let engine: Engine;
    let log: RaftLog;
    let close: () => Promise<void>;

    beforeEach(async () => {
      ({ engine, close } = await open());
      log = new RaftLog(engine);
      const batch = engine.batch();
      log.create(batch, GROUP, { index: 5, term: 5 }, CONF);
      await engine.write(batch);
    });

    afterEach(() => close());

    async function append(added: readonly Entry[], previousLastIndex: number): Promise<void> {
      const batch = engine.batch();
      log.append(batch, GROUP, added, previousLastIndex);
      await engine.write(batch);
    }

    it('knows nothing of a group that was never there', async () => {
      expect(await log.load(8)).to.equal(undefined);
    });

    it('begins where it was told', async () => {
      expect(await log.load(GROUP)).to.deep.equal({
        hardState: { term: 5, vote: 0, commit: 5 },
        confState: CONF,
        truncated: { index: 5, term: 5 },
        lastIndex: 5,
        terms: [],
        entries: [],
        applied: 5,
      });
    });

    it('gives back the entries that were appended, and the states as last saved', async () => {
      await append(entries(6, [6, 6, 7]), 5);
      const batch = engine.batch();
      log.saveState(batch, GROUP, { hardState: { term: 7, vote: 2, commit: 8 } });
      log.saveState(batch, GROUP, {
        apply: { applied: 7, truncated: { index: 5, term: 5 } },
        confState: { ...CONF, learners: [], learnersNext: [4], votersOutgoing: [9], autoLeave: true },
      });
      await engine.write(batch);
      const state = await log.load(GROUP);
      expect(state?.hardState).to.deep.equal({ term: 7, vote: 2, commit: 8 });
      expect(state?.applied).to.equal(7);
      expect(state?.lastIndex).to.equal(8);
      expect(state?.terms).to.deep.equal([
        { term: 6, index: 6 },
        { term: 7, index: 8 },
      ]);
      expect(state?.confState).to.deep.equal({
        ...CONF,
        learners: [],
        learnersNext: [4],
        votersOutgoing: [9],
        autoLeave: true,
      });
      expect(await log.fetch(GROUP, 6, 9, 1e6)).to.deep.equal(entries(6, [6, 6, 7]));
    });

    it('overwrites conflicting entries and removes the stale tail, short or long', async () => {
      await append(
        entries(
          6,
          Array.from({ length: 10 }, () => 6),
        ),
        5,
      );
      await append(entries(8, [7, 7]), 15);
      expect((await log.load(GROUP))?.lastIndex).to.equal(9);
      expect((await engine.scan('log', { limit: 100 })).keys).to.have.length(4);
      await append(
        entries(
          10,
          Array.from({ length: 200 }, () => 7),
        ),
        9,
      );
      await append(entries(7, [8]), 209);
      const state = await log.load(GROUP);
      expect(state?.lastIndex).to.equal(7);
      expect(state?.terms).to.deep.equal([
        { term: 6, index: 6 },
        { term: 8, index: 7 },
      ]);
      expect((await engine.scan('log', { limit: 100 })).keys).to.have.length(2);
    });

    it('refuses entries that would leave a hole or are not consecutive', async () => {
      const batch = engine.batch();
      expect(() => log.append(batch, GROUP, [entry(7, 6)], 5)).to.throw(StorageError, /hole after 5/);
      expect(() => log.append(batch, GROUP, [entry(6, 6), entry(8, 6)], 5)).to.throw(
        StorageError,
        /entry 8 stands/,
      );
      log.append(batch, GROUP, [], 5);
    });

    it('fetches as much as fits, but at least one entry', async () => {
      await append(entries(6, [6, 6, 6, 6]), 5);
      const indexes = async (low: number, high: number, bytes: number) =>
        (await log.fetch(GROUP, low, high, bytes)).map((e) => e.index);
      expect(await indexes(6, 10, 1e6)).to.deep.equal([6, 7, 8, 9]);
      expect(await indexes(7, 9, 1e6)).to.deep.equal([7, 8]);
      expect(await indexes(6, 10, 0)).to.deep.equal([6]);
      expect(await indexes(6, 6, 1e6)).to.deep.equal([]);
      const { keys, values } = await engine.scan('log', { limit: 2 });
      const size = [...keys, ...values].reduce((sum, { length }) => sum + length, 0);
      expect(await indexes(6, 10, size - 1)).to.deep.equal([6]);
      expect(await indexes(6, 10, size)).to.deep.equal([6, 7]);
    });

    it('tells an entry that is not there, and a hole', async () => {
      await append(entries(6, [6, 6, 6, 6]), 5);
      expect((await rejection(log.fetch(GROUP, 10, 12, 1e6))).message).to.match(/entry 10 is not in the log/);
      expect((await rejection(log.fetch(GROUP, 3, 8, 1e6))).code).to.equal('invalid-log');
      const batch = engine.batch();
      log.removeEntries(batch, GROUP, 7, 8);
      await engine.write(batch);
      expect((await rejection(log.fetch(GROUP, 6, 10, 1e6))).message).to.match(
        /entry 7 is missing, 8 follows/,
      );
    });

    it('compacts: the entries are gone from the disk and the rest is as it was', async () => {
      await append(entries(6, [6, 6, 7, 7, 8]), 5);
      const batch = engine.batch();
      log.saveState(batch, GROUP, {
        hardState: { term: 8, vote: 1, commit: 10 },
        apply: { applied: 10, truncated: { index: 8, term: 7 } },
      });
      log.removeEntries(batch, GROUP, 6, 9);
      await engine.write(batch);
      const { keys } = await engine.scan('log', { limit: 100 });
      expect(keys).to.have.length(2);
      const state = await log.load(GROUP);
      expect(state?.truncated).to.deep.equal({ index: 8, term: 7 });
      expect(state?.terms).to.deep.equal([
        { term: 7, index: 9 },
        { term: 8, index: 10 },
      ]);
    });

    it('does not see entries that compaction has yet to delete', async () => {
      await append(entries(6, [6, 6, 7]), 5);
      const batch = engine.batch();
      log.saveState(batch, GROUP, { apply: { applied: 8, truncated: { index: 8, term: 7 } } });
      await engine.write(batch);
      const state = await log.load(GROUP);
      expect(state?.lastIndex).to.equal(8);
      expect(state?.terms).to.deep.equal([]);
    });

    it('refuses a log that ends before what is applied or committed', async () => {
      await append(entries(6, [6]), 5);
      let batch = engine.batch();
      log.saveState(batch, GROUP, { apply: { applied: 7, truncated: { index: 5, term: 5 } } });
      await engine.write(batch);
      expect((await rejection(log.load(GROUP))).message).to.match(/ends at 6, but 7 is applied/);
      batch = engine.batch();
      log.saveState(batch, GROUP, {
        apply: { applied: 6, truncated: { index: 5, term: 5 } },
        hardState: { term: 6, vote: 0, commit: 9 },
      });
      await engine.write(batch);
      expect((await rejection(log.load(GROUP))).message).to.match(/ends at 6, but 9 is committed/);
    });

    it('destroys a group without a trace, and none of its neighbours', async () => {
      let batch = engine.batch();
      for (const group of [GROUP - 1, GROUP + 1]) {
        log.create(batch, group, { index: 5, term: 5 }, CONF);
        log.append(batch, group, entries(6, [6]), 5);
      }
      log.append(batch, GROUP, entries(6, [6, 6]), 5);
      await engine.write(batch);
      batch = engine.batch();
      log.destroy(batch, GROUP);
      await engine.write(batch);
      expect(await log.load(GROUP)).to.equal(undefined);
      expect([...(await log.loadAll()).keys()]).to.deep.equal([GROUP - 1, GROUP + 1]);
      expect((await engine.scan('log', { limit: 100 })).keys).to.have.length(2);
      expect((await engine.scan('raft', { limit: 100 })).keys).to.have.length(6);
    });

    it('loads all groups as it loads each', async () => {
      const batch = engine.batch();
      for (let group = 100; group < 400; group++) {
        log.create(batch, group, { index: 5, term: 5 }, CONF);
        log.append(batch, group, entries(6, group % 2 ? [6] : [6, 7]), 5);
      }
      log.create(batch, 2 ** 40, { index: 5, term: 5 }, CONF);
      await engine.write(batch);
      const all = await log.loadAll();
      expect(all.size).to.equal(302);
      for (const group of [GROUP, 100, 101, 399, 2 ** 40]) {
        expect(all.get(group)?.initial).to.deep.equal(await log.load(group));
      }
    });

    it('loads small and large logs, whatever was left of truncated ones, as it loads each', async () => {
      const random = seeded(5);
      const batch = engine.batch();
      const groups = Array.from({ length: 120 }, (_, i) => 1_000 + i);
      const old = new Set<number>();
      for (const group of groups) {
        const truncated = { index: 5 + Math.floor(3 * random()), term: 5 };
        log.create(batch, group, truncated, CONF);
        const count = random() < 0.1 ? 3_000 : Math.floor(6 * random());
        const length = random() < 0.1 ? 100_000 : 10;
        const terms = Array.from({ length: count }, () => 6 + Math.floor(3 * random())).sort();
        const data = 'x'.repeat(count > 100 ? 10 : length);
        const first = truncated.index + 1;
        log.append(
          batch,
          group,
          terms.map((term, i) => entry(first + i, term, data)),
          truncated.index,
        );
        if (random() < 0.3) {
          old.add(group);
          log.append(batch, group, [entry(truncated.index, 5, data)], truncated.index - 1);
          if (count > 0) {
            // `append` removes what stood behind it.
            log.append(
              batch,
              group,
              terms.map((term, i) => entry(first + i, term, data)),
              truncated.index,
            );
          }
        }
      }
      await engine.write(batch);
      const all = await log.loadAll();
      for (const group of groups) {
        const stored = all.get(group);
        expect(stored?.initial, `group ${group}`).to.deep.equal(await log.load(group));
        if (old.has(group)) expect(stored?.mayHoldOld).to.equal(true);
      }
      expect([...all.values()].filter(({ mayHoldOld }) => !mayHoldOld).length).to.be.above(40);
    });

    it('says of a log in the middle of others what is wrong with it', async () => {
      const batch = engine.batch();
      for (const group of [2_000, 2_001, 2_002]) {
        log.create(batch, group, { index: 5, term: 5 }, CONF);
        log.append(batch, group, entries(6, [6, 6, 6]), 5);
      }
      log.saveState(batch, 2_001, { hardState: { term: 6, vote: 0, commit: 9 } });
      await engine.write(batch);
      expect((await rejection(log.loadAll())).message).to.match(
        /group 2001: the log ends at 8, but 9 is committed/,
      );
    });

    it('finds the term boundaries of any log', async () => {
      await fc.assert(
        fc.asyncProperty(
          fc.array(
            fc.record({ run: fc.integer({ min: 1, max: 300 }), rise: fc.integer({ min: 1, max: 3 }) }),
            {
              minLength: 1,
              maxLength: 8,
            },
          ),
          async (runs) => {
            const batch = engine.batch();
            batch.deleteRange('log', Uint8Array.of(0), Uint8Array.of(255));
            const added: Entry[] = [];
            const expected: TermBoundary[] = [];
            let term = 5;
            for (const { run, rise } of runs) {
              term += rise;
              expected.push({ term, index: 6 + added.length });
              for (let i = 0; i < run; i++) added.push(entry(6 + added.length, term, 'x'));
            }
            log.append(batch, GROUP, added, 5);
            await engine.write(batch);
            expect((await log.load(GROUP))?.terms).to.deep.equal(expected);
          },
        ),
        { numRuns: 30, seed: 3 },
      );
    });
  });
}

describeRaftLog('the simulated disk', async () => {
  const disk = new SimulatedDisk({ random: seeded(1) });
  const engine = await disk.open();
  return { engine, close: () => engine.close() };
});

describeRaftLog('RocksDB', async () => {
  const path = await mkdtemp(join(tmpdir(), 'troupe-log-'));
  const engine = await openRocksEngine({ path });
  return {
    engine,
    close: async () => {
      await engine.close();
      await rm(path, { recursive: true });
    },
  };
});
