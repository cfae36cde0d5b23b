import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import {
  type Engine,
  openRocksEngine,
  parseSnapshotFileName,
  type SideFiles,
  SimulatedDisk,
  SnapshotFile,
  snapshotFileName,
} from '../../storage/index.js';
import { ChunkBuilder } from '../../storage/snapshot-chunk.js';
import { bytes, chunksOf, fill, IDENTITY, pair, totalsOf, writeAside } from './region-data.js';
import { seeded } from './seeded.js';
import { refusal } from './side-files-compliance.js';

const NAME = snapshotFileName(IDENTITY);

/** Chunks of a few bytes: pairs of one letter each. */
function chunk(...keys: string[]): Uint8Array {
  const builder = new ChunkBuilder();
  for (const key of keys) builder.add('default', bytes(key), bytes(`value of ${key}`));
  return builder.encode();
}

const CHUNKS = [chunk('ra', 'rb'), chunk('rc'), chunk('rd', 're', 'rf'), chunk('rg')];

const memory = (): Promise<Engine> => new SimulatedDisk({ random: () => 0 }).open();

async function content(files: SideFiles, name = NAME): Promise<Buffer> {
  const found = (await files.list()).find((file) => file.name === name);
  return Buffer.from(await files.read(name, 0, found?.length ?? 0));
}

/** Puts bytes in the place of a file. */
async function overwrite(files: SideFiles, content: Uint8Array, name = NAME): Promise<void> {
  const file = await files.open(name);
  await file.truncate(0);
  await file.append(content);
  await file.sync();
  await file.close();
}

describe('Snapshot files', () => {
  it('have names that tell whose they are', () => {
    expect(NAME).to.equal('7-21-1234-5.snapshot');
    for (const identity of [
      IDENTITY,
      { region: 0, peer: 0, index: 0, term: 0 },
      { region: Number.MAX_SAFE_INTEGER, peer: 1, index: 2, term: 3 },
    ]) {
      expect(parseSnapshotFileName(snapshotFileName(identity))).to.deep.equal(identity);
    }
    for (const other of [
      '',
      '1-2-3.snapshot',
      '1-2-3-4',
      '01-2-3-4.snapshot',
      '1-2-3-4-5.snapshot',
      '-1-2-3-4.snapshot',
      '1-2-3-9007199254740992.snapshot',
      'x1-2-3-4.snapshot',
      '1-2-3-4.snapshot.tmp',
    ]) {
      expect(parseSnapshotFileName(other), other).to.equal(undefined);
    }
  });

  it('count their chunks, and end with the totals', async () => {
    const { files } = await memory();
    const file = await SnapshotFile.open(files, NAME, IDENTITY);
    expect([file.chunks, file.bytes, file.finished]).to.deep.equal([0, 0, false]);
    for (const [i, one] of CHUNKS.entries()) {
      await file.append(one);
      expect(file.chunks).to.equal(i + 1);
    }
    const totals = totalsOf(CHUNKS);
    expect(file.bytes).to.equal(totals.bytes);
    await file.finish(totals);
    expect(file.finished).to.equal(true);
    await file.finish(totals);
    await file.close();
    await file.close();
    const again = await SnapshotFile.open(files, NAME, IDENTITY);
    expect([again.chunks, again.bytes, again.finished]).to.deep.equal([4, totals.bytes, true]);
    const before = await content(files);
    await again.finish(totals);
    await again.close();
    expect(await content(files)).to.deep.equal(before);
  });

  it('take calls in their order, without waiting in between', async () => {
    const { files } = await memory();
    const file = await SnapshotFile.open(files, NAME, IDENTITY);
    await Promise.all([
      ...CHUNKS.map((one) => file.append(one)),
      file.finish(totalsOf(CHUNKS)),
      file.close(),
    ]);
    const again = await SnapshotFile.open(files, NAME, IDENTITY);
    expect(again.finished).to.equal(true);
  });

  it('are continued after a cut at any byte, and come out the same', async () => {
    const { files } = await memory();
    await writeAside(files, CHUNKS);
    const whole = await content(files);
    const resumed = new Set<number>();
    for (let length = 0; length <= whole.length; length++) {
      await overwrite(files, whole.subarray(0, length));
      const file = await SnapshotFile.open(files, NAME, IDENTITY);
      resumed.add(file.chunks);
      expect(file.finished).to.equal(length === whole.length);
      expect(file.bytes).to.equal(totalsOf(CHUNKS.slice(0, file.chunks)).bytes);
      await file.close();
      await writeAside(files, CHUNKS);
      expect(await content(files)).to.deep.equal(whole);
    }
    expect([...resumed]).to.deep.equal([0, 1, 2, 3, 4]);
  });

  it('are continued before any flipped bit, and come out the same', async () => {
    const { files } = await memory();
    await writeAside(files, CHUNKS);
    const whole = await content(files);
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const damaged = Buffer.from(whole);
      damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7));
      await overwrite(files, damaged);
      const file = await SnapshotFile.open(files, NAME, IDENTITY);
      expect(file.finished).to.equal(false);
      await file.close();
      const kept = await content(files);
      expect(kept.length).to.be.at.most(Math.max(bit >> 3, 44));
      expect(kept).to.deep.equal(whole.subarray(0, kept.length));
      await writeAside(files, CHUNKS);
      expect(await content(files)).to.deep.equal(whole);
    }
  });

  it('are cut off behind their end', async () => {
    const { files } = await memory();
    await writeAside(files, CHUNKS);
    const whole = await content(files);
    for (const more of [Buffer.alloc(1), Buffer.alloc(5000), whole.subarray(44)]) {
      await overwrite(files, Buffer.concat([whole, more]));
      const file = await SnapshotFile.open(files, NAME, IDENTITY);
      expect(file.finished).to.equal(true);
      await file.close();
      expect(await content(files)).to.deep.equal(whole);
    }
  });

  it('begin anew when they are of another snapshot', async () => {
    const { files } = await memory();
    for (const other of [
      { ...IDENTITY, region: 8 },
      { ...IDENTITY, peer: 22 },
      { ...IDENTITY, index: 1235 },
      { ...IDENTITY, term: 6 },
    ]) {
      await writeAside(files, CHUNKS);
      const file = await SnapshotFile.open(files, NAME, other);
      expect([file.chunks, file.finished]).to.deep.equal([0, false]);
      await file.close();
      const back = await SnapshotFile.open(files, NAME, other);
      await back.append(CHUNKS[0] as Uint8Array);
      await back.close();
    }
  });

  it('refuse a chunk that is damaged, repeated, left out, or behind the end, and take the right one then', async () => {
    const { files } = await memory();
    const file = await SnapshotFile.open(files, NAME, IDENTITY);
    const [first, second] = CHUNKS as [Uint8Array, Uint8Array];
    await file.append(first);
    const before = await content(files);
    const refused = (wrong: Uint8Array) => refusal(file.append(wrong), 'corrupt-snapshot');
    for (let length = 0; length < second.length; length++) await refused(second.subarray(0, length));
    expect(await refused(first)).to.match(/chunk 1: the key "ra" is out of order\. Discard this snapshot/);
    expect(await refused(chunk())).to.include('an empty chunk is not the only one');
    expect(await refused(new Uint8Array((64 << 20) + 1))).to.include('is larger than');
    expect(file.chunks).to.equal(1);
    expect(await content(files)).to.deep.equal(before);
    for (const one of CHUNKS.slice(1)) await file.append(one);
    await file.finish(totalsOf(CHUNKS));
    expect(await refused(chunk('rz'))).to.include('follows the announced end');
    await file.close();
  });

  it('hold one empty chunk where the region has no data, and nothing else', async () => {
    const { files } = await memory();
    const file = await SnapshotFile.open(files, NAME, IDENTITY);
    await refusal(file.finish({ chunks: 0, bytes: 0, checksum: 0 }), 'corrupt-snapshot');
    await file.append(chunk());
    await refusal(file.append(chunk()), 'corrupt-snapshot');
    await refusal(file.append(chunk('ra')), 'corrupt-snapshot');
    await file.finish(totalsOf([chunk()]));
    await file.close();
  });

  it('refuse totals that are not theirs, and take the right ones then', async () => {
    const { files } = await memory();
    const file = await SnapshotFile.open(files, NAME, IDENTITY);
    for (const one of CHUNKS) await file.append(one);
    const before = await content(files);
    const totals = totalsOf(CHUNKS);
    const refused = (wrong: object) => refusal(file.finish({ ...totals, ...wrong }), 'corrupt-snapshot');
    expect(await refused({ chunks: 5 })).to.include(
      `4 chunks of ${totals.bytes} bytes are here, but 5 of ${totals.bytes} bytes were announced`,
    );
    await refused({ chunks: 3 });
    await refused({ bytes: totals.bytes + 1 });
    await refused({ bytes: totals.bytes - 1 });
    expect(await refused({ checksum: totals.checksum ^ 1 })).to.include('the checksum of the whole is wrong');
    await refused(totalsOf(CHUNKS.slice(0, 3)));
    expect(file.finished).to.equal(false);
    expect(await content(files)).to.deep.equal(before);
    await file.finish(totals);
    await refused({ chunks: 5 });
    await file.close();
  });

  it('have one writer', async () => {
    const { files } = await memory();
    const file = await SnapshotFile.open(files, NAME, IDENTITY);
    await refusal(SnapshotFile.open(files, NAME, IDENTITY), 'locked');
    await file.close();
    await (await SnapshotFile.open(files, NAME, IDENTITY)).close();
  });

  it('are continued after a power loss at any moment, and whole for good once finished', async () => {
    const resumed = new Set<number>();
    for (let seed = 0; seed < 300; seed++) {
      const random = seeded(seed);
      const disk = new SimulatedDisk({ random });
      let engine = await disk.open();
      for (let round = 0; round < 3; round++) {
        const file = await SnapshotFile.open(engine.files, NAME, IDENTITY);
        resumed.add(file.chunks);
        const more = Math.floor(random() * (CHUNKS.length + 1 - file.chunks));
        for (const one of CHUNKS.slice(file.chunks, file.chunks + more)) await file.append(one);
        disk.crash();
        engine = await disk.open();
      }
      await writeAside(engine.files, CHUNKS);
      disk.crash();
      engine = await disk.open();
      const file = await SnapshotFile.open(engine.files, NAME, IDENTITY);
      expect(file.finished).to.equal(true);
    }
    expect([...resumed].sort()).to.deep.equal([0, 1, 2, 3, 4]);
  });

  it('sync every 8 MiB, not all at the end', async () => {
    let syncs = 0;
    const disk = new SimulatedDisk({ random: () => 0, latency: (call) => (call === 'sync' ? ++syncs : 0) });
    const engine = await disk.open();
    const data = Array.from({ length: 20 }, (_, i) => pair('default', `r${10 + i}`, new Uint8Array(1 << 20)));
    await fill(engine, data);
    const chunks = await chunksOf(engine);
    const file = await SnapshotFile.open(engine.files, NAME, IDENTITY);
    for (const one of chunks) await file.append(one);
    expect(syncs).to.equal(2);
    await file.finish(totalsOf(chunks));
    expect(syncs).to.equal(3);
    await file.close();
  });

  it('fail with the engine when the disk refuses', async () => {
    const disk = new SimulatedDisk({ random: () => 0 });
    const engine = await disk.open();
    const file = await SnapshotFile.open(engine.files, NAME, IDENTITY);
    disk.failNext('write', { message: 'No space left on device' });
    const sentence = await refusal(file.append(CHUNKS[0] as Uint8Array), 'engine-failed');
    expect(await refusal(engine.sync(), 'engine-failed')).to.equal(sentence);
    await file.close();
    await engine.close();
    const again = await disk.open();
    disk.failNext('write');
    await refusal(SnapshotFile.open(again.files, NAME, { ...IDENTITY, term: 9 }), 'engine-failed');
    await again.close();
  });

  it('are written and continued on a real disk', async () => {
    const path = await mkdtemp(join(tmpdir(), 'troupe-snapshot-'));
    try {
      const engine = await openRocksEngine({ path });
      const data = Array.from({ length: 3000 }, (_, i) =>
        pair('default', `r${10_000 + i}`, new Uint8Array(200)),
      );
      await fill(engine, data);
      const chunks = await chunksOf(engine);
      expect(chunks.length).to.be.above(5);
      const name = await writeAside(engine.files, chunks);
      const whole = await content(engine.files);
      for (const length of [0, 10, 44, 60_000, 200_000, whole.length - 1]) {
        await overwrite(engine.files, whole.subarray(0, length), name);
        await writeAside(engine.files, chunks);
        expect((await content(engine.files)).equals(whole)).to.equal(true);
      }
      await engine.close();
    } finally {
      await rm(path, { recursive: true, force: true });
    }
  });
});
