import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import {
  type Engine,
  hashRegion,
  openRocksEngine,
  RegionSnapshotReader,
  type ScanOptions,
  SimulatedDisk,
  SNAPSHOT_CHUNK_BYTES,
  SNAPSHOT_FAMILIES,
  type SnapshotCursor,
} from '../../storage/index.js';
import { ForwardingEngine } from '../simulation/disk-record.js';
import { bytes, chunksOf, contents, fill, noPause, type Pair, pair, pairs, range } from './region-data.js';
import { seeded } from './seeded.js';

const digest = async (engine: Engine, within = {}): Promise<string> => {
  const view = engine.snapshot();
  const hash = await hashRegion(engine, view, within, noPause);
  view.release();
  return Buffer.from(hash).toString('hex');
};

const hex = (chunks: readonly Uint8Array[]): string[] =>
  chunks.map((chunk) => Buffer.from(chunk).toString('hex'));

/** Notes what was asked of it. */
class ScannedEngine extends ForwardingEngine {
  readonly scans: ScanOptions[] = [];

  override scan(...call: Parameters<Engine['scan']>) {
    this.scans.push(call[1]);
    return this.inner.scan(...call);
  }
}

const memory = (): Promise<Engine> => new SimulatedDisk({ random: () => 0 }).open();

/** Pairs of all sizes, in no order. */
function mixed(seed: number): Pair[] {
  const random = seeded(seed);
  const data: Pair[] = [];
  for (let i = 0; i < 1500; i++) {
    const cf = SNAPSHOT_FAMILIES[Math.floor(random() * 3)] ?? 'default';
    const size = random() < 0.01 ? 200_000 : random() < 0.1 ? 20_000 : 100;
    const value = new Uint8Array(Math.floor(random() * size)).fill(i);
    data.push({ cf, key: bytes(`r${Math.floor(random() * 1e9)}`), value });
  }
  return data;
}

describe('Region snapshot reader', () => {
  let path: string;
  let rocks: Engine;
  let simulated: Engine;

  beforeEach(async () => {
    path = await mkdtemp(join(tmpdir(), 'troupe-region-'));
    rocks = await openRocksEngine({ path, writeBuffers: { default: 256 << 10 } });
    simulated = await memory();
  });

  afterEach(async () => {
    await rocks.close();
    await simulated.close();
    await rm(path, { recursive: true, force: true });
  });

  it('gives one empty chunk for a region without data', async () => {
    await fill(rocks, [pair('log', 'r1', 'x'), pair('raft', 'r1', 'x'), pair('default', 'ra', 'x')]);
    const chunks = await chunksOf(rocks, { start: bytes('rb'), end: bytes('rc') });
    expect(hex(chunks)).to.deep.equal(['0100000000']);
  });

  it('gives equal chunks and hashes for equal data, however it came about and wherever it is', async () => {
    const data = mixed(1);
    await fill(simulated, data);
    // Written twice, in another order, with deletions between, in several tables and a memtable.
    for (const { cf, key } of data) await fill(rocks, [{ cf, key, value: bytes('old') }]);
    for (let i = 0; i < data.length; i += 100) {
      const batch = rocks.batch();
      batch.put('default', bytes(`gone${i}`), bytes('x'));
      for (const { cf, key } of data.slice(i, i + 100)) batch.delete(cf, key);
      await rocks.write(batch);
    }
    await fill(rocks, data.slice(700));
    await fill(rocks, data.slice(0, 700));
    const batch = rocks.batch();
    batch.deleteRange('default', bytes('gone'), bytes('gonf'));
    // Keys that are there twice: the later one counts.
    for (const { cf, key, value } of data) batch.put(cf, key, value);
    await rocks.write(batch);
    expect(await contents(rocks)).to.deep.equal(await contents(simulated));
    const chunks = await chunksOf(simulated);
    expect(chunks.length).to.be.above(30);
    expect(hex(await chunksOf(rocks))).to.deep.equal(hex(chunks));
    expect(await digest(rocks)).to.equal(await digest(simulated));
  });

  it('gives chunks of about 64 KiB, with no empty one among them', async () => {
    await fill(simulated, mixed(2));
    const chunks = await chunksOf(simulated);
    for (const [i, chunk] of chunks.entries()) {
      const count = Buffer.from(chunk).readUInt32LE(1);
      expect(count).to.be.above(0);
      if (count > 1) expect(chunk.length).to.be.below(SNAPSHOT_CHUNK_BYTES + 16 * count);
      // Two neighbours would not have fitted into one.
      const next = chunks[i + 1];
      if (next) expect(chunk.length + next.length).to.be.above(SNAPSHOT_CHUNK_BYTES);
    }
  });

  it('ends with the data where a chunk is exactly full', async () => {
    const value = new Uint8Array(SNAPSHOT_CHUNK_BYTES / 2 - 2);
    await fill(simulated, [pair('default', 'r1', value), pair('default', 'r2', value)]);
    expect(await chunksOf(simulated)).to.have.length(1);
    await fill(simulated, [pair('write', 'r0', '')]);
    expect(await chunksOf(simulated)).to.have.length(2);
    await fill(simulated, [pair('write', 'r1', new Uint8Array(3 << 20))]);
    expect(await chunksOf(simulated)).to.have.length(3);
    expect(hex(await chunksOf(simulated, { end: bytes('r1') }))).to.have.length(1);
  });

  it('goes on at any cursor as if it had never stopped, in another reader of equal data too', async () => {
    await fill(simulated, mixed(3));
    await fill(rocks, mixed(3));
    const [here, there] = [simulated.snapshot(), rocks.snapshot()];
    let cursor: SnapshotCursor | undefined;
    do {
      const one = await new RegionSnapshotReader(simulated, here, {}).next(cursor);
      const other = await new RegionSnapshotReader(rocks, there, {}).next(cursor);
      expect(hex([other.chunk])).to.deep.equal(hex([one.chunk]));
      expect(other.next?.cf).to.equal(one.next?.cf);
      cursor = one.next;
    } while (cursor);
    here.release();
    there.release();
  });

  it('reads the moment of the view', async () => {
    await fill(simulated, mixed(4));
    const before = hex(await chunksOf(simulated));
    const view = simulated.snapshot();
    const reader = new RegionSnapshotReader(simulated, view, {});
    const chunks: Uint8Array[] = [];
    let cursor: SnapshotCursor | undefined;
    do {
      const { chunk, next } = await reader.next(cursor);
      chunks.push(chunk);
      cursor = next;
      await fill(simulated, mixed(5 + chunks.length));
    } while (cursor);
    view.release();
    expect(hex(chunks)).to.deep.equal(before);
  });

  it('reads at most 256 keys or 64 KiB at a time, and of large values few', async () => {
    const small = Array.from({ length: 3000 }, (_, i) => pair('default', `r${10_000 + i}`, 'v'));
    const large = Array.from({ length: 5 }, (_, i) => pair('write', `r${i}`, new Uint8Array(1 << 20)));
    await fill(simulated, [...small, ...large]);
    const engine = new ScannedEngine(simulated);
    await chunksOf(engine);
    for (const { limit, maxBytes, keysOnly } of engine.scans) {
      expect(limit).to.be.at.most(256);
      if (!keysOnly) expect(maxBytes).to.be.at.most(SNAPSHOT_CHUNK_BYTES);
    }
    expect(engine.scans.length).to.be.below(40);
    expect(engine.scans.slice(-2).map(({ limit }) => limit)).to.deep.equal([1, 1]);
  });

  it('keeps to the range: start included, end not, open where a bound is absent or empty', async () => {
    const keys = ['ra', 'rb', 'rba', 'rc', 'x'];
    await fill(
      simulated,
      keys.map((key) => pair('default', key, '')),
    );
    const digests = async (...of: string[]) => {
      const other = await memory();
      await fill(
        other,
        of.map((key) => pair('default', key, '')),
      );
      return digest(other);
    };
    expect(await digest(simulated, { start: bytes('rb'), end: bytes('rc') })).to.equal(
      await digests('rb', 'rba'),
    );
    expect(await digest(simulated, { start: bytes('rb') })).to.equal(await digests('rb', 'rba', 'rc', 'x'));
    expect(await digest(simulated, { start: bytes(''), end: bytes('') })).to.equal(await digests(...keys));
  });

  it('hashes what differs differently: a family, a key, a value, a border between them', async () => {
    const seen = new Set<string>();
    const cases: Pair[][] = [
      [],
      [pair('default', 'ra', 'b')],
      [pair('default', 'rab', '')],
      [pair('default', 'ra', 'c')],
      [pair('lock', 'ra', 'b')],
      [pair('write', 'ra', 'b')],
      [pair('default', 'ra', 'b'), pair('default', 'rb', '')],
      [pair('default', 'ra', ''), pair('default', 'rb', 'b')],
      [pair('default', 'ra', 'b'), pair('lock', 'rb', '')],
    ];
    for (const data of cases) {
      const engine = await memory();
      await fill(engine, data);
      seen.add(await digest(engine));
    }
    expect(seen.size).to.equal(cases.length);
  });

  it('hashes with pauses, and stops where a pause throws', async () => {
    await fill(simulated, mixed(6));
    let pauses = 0;
    const view = simulated.snapshot();
    const pause = async () => {
      if (++pauses === 5) throw new Error('no longer wanted');
    };
    const error = await hashRegion(simulated, view, {}, pause).catch((cause: unknown) => cause);
    expect((error as Error).message).to.equal('no longer wanted');
    expect(pauses).to.equal(5);
  });

  it('hashes as its pairs stand in the chunks, wherever those end', async () => {
    const engine = await memory();
    const value = new Uint8Array(40_000).fill(7);
    await fill(engine, [pair('default', 'ra', value), pair('default', 'rb', value), pair('write', 'ra', '')]);
    expect(await chunksOf(engine)).to.have.length(2);
    const expected = createHash('sha256');
    // Family, lengths, key, value: fixed, so that all versions of a store agree.
    for (const key of ['ra', 'rb']) {
      expected
        .update(Uint8Array.of(1, 2, 0xc0, 0xb8, 0x02))
        .update(key)
        .update(value);
    }
    expected.update(Uint8Array.of(3, 2, 0)).update('ra');
    expect(await digest(engine)).to.equal(expected.digest('hex'));
  });

  it('refuses a cursor in a family that snapshots do not hold', async () => {
    const reader = new RegionSnapshotReader(simulated, simulated.snapshot(), {});
    const error = await reader.next({ cf: 'raft', after: undefined }).catch((cause: unknown) => cause);
    expect(error).to.be.instanceOf(RangeError);
  });

  it('reads the same from both engines, for any data and range', async () => {
    await fc.assert(
      fc.asyncProperty(pairs, range, async (data, within) => {
        const engines = [rocks, await memory()];
        const found: string[][] = [];
        for (const engine of engines) {
          const batch = engine.batch();
          for (const cf of SNAPSHOT_FAMILIES) batch.deleteRange(cf, bytes('\0'), bytes('~'));
          await engine.write(batch);
          await fill(engine, data);
          found.push([await digest(engine, within), ...hex(await chunksOf(engine, within))]);
        }
        expect(found[0]).to.deep.equal(found[1]);
      }),
      { numRuns: 60, seed: 5 },
    );
  });
});
