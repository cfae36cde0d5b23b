import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import {
  type Engine,
  installRegionSnapshot,
  openRocksEngine,
  type SideFiles,
  SimulatedDisk,
  SNAPSHOT_FAMILIES,
  snapshotFileName,
  type WalPosition,
} from '../../storage/index.js';
import { ForwardingEngine } from '../simulation/disk-record.js';
import { FATES, pullPlug } from './pulled-plug.js';
import {
  AFTER,
  BEFORE,
  bytes,
  chunksFor,
  contents,
  expected,
  fill,
  IDENTITY,
  memory,
  noPause,
  pair,
  pairs,
  REGION,
  range,
  WatchedEngine,
  writeAside,
} from './region-data.js';
import { seeded } from './seeded.js';
import { refusal } from './side-files-compliance.js';

const NAME = snapshotFileName(IDENTITY);

describe('Installing a region snapshot', () => {
  let path: string;
  let rocks: Engine;

  beforeEach(async () => {
    path = await mkdtemp(join(tmpdir(), 'troupe-install-'));
    rocks = await openRocksEngine({ path });
  });

  afterEach(async () => {
    await rocks.close();
    await rm(path, { recursive: true, force: true });
  });

  it('replaces the data of the region, and nothing else', async () => {
    for (const engine of [await memory(), rocks]) {
      await fill(engine, BEFORE);
      await writeAside(engine.files, await chunksFor(AFTER, REGION));
      await installRegionSnapshot(engine, NAME, REGION, noPause);
      expect(await contents(engine)).to.deep.equal(await expected(BEFORE, AFTER, REGION));
      // Its file is the caller's to remove.
      expect(await engine.files.list()).to.have.length(1);
    }
  });

  it('may be repeated', async () => {
    for (const engine of [await memory(), rocks]) {
      await fill(engine, BEFORE);
      await writeAside(engine.files, await chunksFor(AFTER, REGION));
      await installRegionSnapshot(engine, NAME, REGION, noPause);
      await fill(engine, [pair('default', 'rbx', 'of a later time')]);
      await installRegionSnapshot(engine, NAME, REGION, noPause);
      expect(await contents(engine)).to.deep.equal(await expected(BEFORE, AFTER, REGION));
    }
  });

  it('clears a region whose snapshot is empty', async () => {
    for (const engine of [await memory(), rocks]) {
      await fill(engine, BEFORE);
      await writeAside(engine.files, await chunksFor([], REGION));
      await installRegionSnapshot(engine, NAME, REGION, noPause);
      expect(await contents(engine)).to.deep.equal(await expected(BEFORE, [], REGION));
      expect(await contents(engine, REGION, SNAPSHOT_FAMILIES)).to.deep.equal([]);
    }
  });

  it('takes absent and empty bounds as open', async () => {
    const keys = ['r', 'rm', 'rz', 'x', 'xz', '~'];
    for (const within of [
      {},
      { start: bytes(''), end: bytes('') },
      { start: bytes('rm') },
      { end: bytes('x') },
    ]) {
      const before = keys.flatMap((key) => SNAPSHOT_FAMILIES.map((cf) => pair(cf, key, 'old')));
      const after = keys.map((key) => pair('write', `${key}1`, 'new'));
      for (const engine of [await memory(), rocks]) {
        const batch = engine.batch();
        for (const cf of SNAPSHOT_FAMILIES) batch.deleteRange(cf, bytes('a'), Uint8Array.of(0xff));
        await engine.write(batch);
        await fill(engine, before);
        if ((await engine.files.list()).length > 0) await engine.files.remove(NAME);
        await writeAside(engine.files, await chunksFor(after, within));
        await installRegionSnapshot(engine, NAME, within, noPause);
        expect(await contents(engine)).to.deep.equal(await expected(before, after, within));
      }
    }
  });

  it("gives exactly the sender's data, for any data and range", async () => {
    await fc.assert(
      fc.asyncProperty(pairs, pairs, range, async (before, after, within) => {
        const batch = rocks.batch();
        for (const cf of SNAPSHOT_FAMILIES) batch.deleteRange(cf, bytes('\0'), bytes('~'));
        await rocks.write(batch);
        await rocks.files.remove(NAME);
        for (const engine of [await memory(), rocks]) {
          await fill(engine, before);
          await writeAside(engine.files, await chunksFor(after, within));
          await installRegionSnapshot(engine, NAME, within, noPause);
          expect(await contents(engine)).to.deep.equal(await expected(before, after, within));
        }
      }),
      { numRuns: 60, seed: 12 },
    );
  });

  it('is finished by a second run after a power loss before any of its batches, and at any time', async () => {
    const chunks = await chunksFor(AFTER, REGION);
    const outcome = await expected(BEFORE, AFTER, REGION);
    let crashes = 0;
    for (let last = 1; ; last++) {
      for (let seed = 0; seed < 8; seed++) {
        const disk = new SimulatedDisk({ random: seeded(100 * last + seed) });
        let engine = await disk.open();
        await fill(engine, BEFORE);
        await engine.sync();
        await writeAside(engine.files, chunks);
        const watched = new WatchedEngine(engine);
        const crashed = new Promise<'crashed'>((resolve) => {
          watched.before = async (batch) => {
            if (batch < last) return;
            disk.crash();
            resolve('crashed');
            await new Promise(() => {});
          };
        });
        const installed = installRegionSnapshot(watched, NAME, REGION, noPause).then(
          () => 'installed' as const,
        );
        if ((await Promise.race([crashed, installed])) === 'installed') {
          expect(crashes).to.be.above(8 * 5);
          return;
        }
        crashes++;
        engine = await disk.open();
        await installRegionSnapshot(engine, NAME, REGION, noPause);
        await engine.sync();
        disk.crash();
        expect(await contents(await disk.open())).to.deep.equal(outcome);
      }
    }
  });

  it('is finished by a second run after a power loss on a real disk', async () => {
    const chunks = await chunksFor(AFTER, REGION);
    const outcome = await expected(BEFORE, AFTER, REGION);
    let synced: WalPosition = { file: 0, length: 0 };
    const engine = await openRocksEngine({
      path: join(path, 'db'),
      onSynced: (position) => (synced = position),
    });
    await fill(engine, BEFORE);
    await engine.sync();
    await writeAside(engine.files, chunks);
    const watched = new WatchedEngine(engine);
    const copies: string[] = [];
    watched.before = async (batch) => {
      const fate = FATES[batch % FATES.length] ?? 'lost';
      const copy = join(path, `${batch}-${fate}`);
      await pullPlug(join(path, 'db'), copy, synced, fate, seeded(batch));
      await cp(join(path, 'db', 'snapshots'), join(copy, 'snapshots'), { recursive: true });
      copies.push(copy);
    };
    await installRegionSnapshot(watched, NAME, REGION, noPause);
    await engine.close();
    expect(copies.length).to.be.above(FATES.length);
    for (const copy of copies) {
      const again = await openRocksEngine({ path: copy });
      await installRegionSnapshot(again, NAME, REGION, noPause);
      expect(await contents(again)).to.deep.equal(outcome);
      await again.close();
    }
  });

  it('writes bounded batches, one after the other, and pauses after each', async () => {
    const disk = await memory();
    await fill(disk, BEFORE);
    const engine = new WatchedEngine(disk);
    await writeAside(engine.files, await chunksFor(AFTER, REGION));
    let pauses = 0;
    let between = 0;
    engine.before = async (batch) => {
      if (batch > 2) expect(pauses, `before batch ${batch}`).to.be.above(between);
      between = pauses;
    };
    await installRegionSnapshot(engine, NAME, REGION, async () => {
      pauses++;
    });
    for (const { count, bytes: size } of engine.batches) {
      expect(count).to.be.at.most(1024);
      if (count > 1) expect(size).to.be.at.most(64 * 1024);
    }
    expect(engine.batches.length).to.be.above(5);
  });

  it('deletes ranges once, and only where there is something', async () => {
    const chunks = await chunksFor(AFTER, REGION);
    for (const [families, ranges] of [
      [[], 0],
      [['write'], 1],
      [SNAPSHOT_FAMILIES, 3],
    ] as const) {
      const disk = await memory();
      await fill(disk, [pair('lock', 'ra', 'outside'), ...families.map((cf) => pair(cf, 'rc', 'old'))]);
      const engine = new WatchedEngine(disk);
      await writeAside(engine.files, chunks);
      await installRegionSnapshot(engine, NAME, REGION, noPause);
      expect(engine.batches[0]?.count).to.equal(ranges);
      const puts = engine.batches.slice(1).reduce((sum, { count }) => sum + count, 0);
      expect(puts).to.equal(AFTER.length);
    }
  });

  it('reads a chunk at a time, however large the snapshot', async () => {
    const engine = await memory();
    await writeAside(engine.files, await chunksFor(AFTER, REGION));
    const { files } = engine;
    let largest = 0;
    const observed: SideFiles = {
      open: (name) => files.open(name),
      list: () => files.list(),
      remove: (name) => files.remove(name),
      read: (name, offset, length) => {
        largest = Math.max(largest, length);
        return files.read(name, offset, length);
      },
    };
    const watched = new (class extends ForwardingEngine {
      override get files(): SideFiles {
        return observed;
      }
    })(engine);
    await installRegionSnapshot(watched, NAME, REGION, noPause);
    expect(largest).to.be.within(300_000, 300_100);
  });

  it('tells when the file is damaged after it was checked', async () => {
    const chunks = await chunksFor(AFTER, REGION);
    for (const cut of [1, 300]) {
      const engine = new WatchedEngine(await memory());
      await writeAside(engine.files, chunks);
      engine.before = async (batch) => {
        if (batch !== 2) return;
        const file = await engine.files.open(NAME);
        // Just before the totals, and within them.
        await file.truncate(file.length - (cut === 1 ? 1 : 33));
        await file.close();
      };
      await refusal(installRegionSnapshot(engine, NAME, REGION, noPause), 'corrupt-snapshot');
      await writeAside(engine.files, chunks);
      engine.before = async () => {};
      await installRegionSnapshot(engine, NAME, REGION, noPause);
      expect(await contents(engine)).to.deep.equal(await expected([], AFTER, REGION));
    }
  });

  it('fails with the engine when the disk refuses', async () => {
    const disk = new SimulatedDisk({ random: () => 0 });
    const engine = await disk.open();
    await writeAside(engine.files, await chunksFor(AFTER, REGION));
    disk.failNext('write', { after: 2 });
    const sentence = await refusal(installRegionSnapshot(engine, NAME, REGION, noPause), 'engine-failed');
    expect(await refusal(engine.sync(), 'engine-failed')).to.equal(sentence);
  });
});
