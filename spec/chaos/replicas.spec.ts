import { expect } from 'chai';
import { seededRandom } from '../../actors/index.js';
import type { Entry } from '../../machines/raft/types.js';
import { type Engine, RaftLog, rawKey, SimulatedDisk } from '../../storage/index.js';
import { compareReplicas } from './replicas.js';

const GROUP = 7;

describe('comparison of replicas', () => {
  it('finds nothing where all stores hold the same', async () => {
    expect(await compare({ values: ['a', 'b'] }, { values: ['a', 'b'] }, { values: ['a', 'b'] })).deep.equals(
      [],
    );
  });

  it('lets one be behind, and have entries that are not committed', async () => {
    const ahead = { values: ['a', 'b', 'c'] };
    expect(await compare(ahead, { values: ['a'] }, { values: ['a', 'x'], committed: 1 })).deep.equals([]);
  });

  it('finds committed entries that differ', async () => {
    const differences = await compare({ values: ['a', 'b', 'c'] }, { values: ['a', 'x'] });
    expect(differences).deep.equals(['store-1 and store-2 committed different entries 2 of region 7']);
  });

  it('finds data that differs though as much is applied', async () => {
    const differences = await compare({ values: ['a'] }, { values: ['a'], data: 'other' });
    expect(differences).deep.equals(['store-1 and store-2 have applied 1 entries and hold different data']);
  });
});

interface Disk {
  /** What its entries hold. */
  readonly values: readonly string[];
  /** How many of them are committed and applied; all of them where nothing is said. */
  readonly committed?: number;
  /** What the key has instead of the last applied value. */
  readonly data?: string;
}

async function compare(...disks: Disk[]): Promise<string[]> {
  const engines = await Promise.all(disks.map(written));
  return compareReplicas(new Map(engines.map((engine, i) => [`store-${i + 1}`, engine])));
}

async function written({ values, committed = values.length, data }: Disk): Promise<Engine> {
  const engine = await new SimulatedDisk({ random: seededRandom(1) }).open();
  const log = new RaftLog(engine);
  const batch = engine.batch();
  const voters = { voters: [1, 2, 3], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false };
  log.create(batch, GROUP, { index: 0, term: 0 }, voters);
  const entries: Entry[] = values.map((value, i) => ({
    term: 1,
    index: i + 1,
    type: 0,
    data: Buffer.from(value),
  }));
  log.append(batch, GROUP, entries, 0);
  log.saveState(batch, GROUP, {
    hardState: { term: 1, vote: 0, commit: committed },
    apply: { applied: committed, truncated: { index: 0, term: 0 } },
  });
  batch.put('default', rawKey(Buffer.from('k')), Buffer.from(data ?? values[committed - 1] ?? ''));
  await engine.write(batch);
  return engine;
}
