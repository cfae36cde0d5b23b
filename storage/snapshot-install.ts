/** Putting a snapshot that was written aside in the place of a region's data. */
import type { Engine, KeyRange, SideFiles } from './engine.js';
import { regionBounds } from './region-snapshot.js';
import {
  type ChunkBounds,
  ChunkPairs,
  corruptSnapshot,
  SNAPSHOT_FAMILIES,
  type SnapshotCursor,
} from './snapshot-chunk.js';
import { parseSnapshotFileName, RecordReader, sameIdentity } from './snapshot-records.js';
import { SnapshotTally } from './snapshot-tally.js';

/** Pairs of one batch, which takes the event loop some microseconds for each. */
const BATCH_PAIRS = 1024;
/** Synced every so many bytes: otherwise the next sync of somebody else would have to wait for all of them. */
const SYNC_BYTES = 8 * 1024 * 1024;

/**
 * Replaces what the engine holds of a region by a finished snapshot file. The file is read twice: nothing is changed
 * before every byte of it was checked. May be run again after a crash at any point: the outcome is the same. Other
 * ranges, and the families `log` and `raft`, are not touched.
 *
 * Until it has resolved, the range holds a part of the data: the caller records beforehand that it has begun; afterwards
 * it syncs, and records that it has ended.
 * @param name as `snapshotFileName` gives it.
 * @param range the region's.
 * @param pause awaited between chunks.
 * @throws StorageError `corrupt-snapshot` when the file is damaged, not finished, or another region's, and `not-found`;
 * nothing was changed then, unless the file was damaged after it had been checked.
 * @throws EngineFailedError, and what `pause` throws.
 */
export async function installRegionSnapshot(
  engine: Engine,
  name: string,
  range: KeyRange,
  pause: () => Promise<void>,
): Promise<void> {
  const bounds = regionBounds(range);
  await verify(engine.files, name, bounds, pause);
  await clear(engine, bounds);
  const reader = new RecordReader(engine.files, name);
  await reader.identity();
  let last: SnapshotCursor | undefined;
  let unsynced = 0;
  let record = await reader.next();
  for (; record?.kind === 'chunk'; record = await reader.next()) {
    last = await write(engine, record.chunk, last, name, pause);
    unsynced += record.chunk.length;
    if (unsynced < SYNC_BYTES) continue;
    unsynced = 0;
    await engine.sync();
  }
  if (!record) throw corruptSnapshot(name, 'the file was cut off after it had been checked');
}

/** Reads the whole file. @throws StorageError `corrupt-snapshot` */
async function verify(
  files: SideFiles,
  name: string,
  bounds: ChunkBounds,
  pause: () => Promise<void>,
): Promise<void> {
  const reader = new RecordReader(files, name);
  const identity = await reader.identity();
  const expected = parseSnapshotFileName(name);
  if (!identity || !expected)
    throw corruptSnapshot(name, 'this is not a snapshot file, or its header is damaged');
  if (!sameIdentity(identity, expected)) {
    throw corruptSnapshot(
      name,
      `the file holds a snapshot of region ${identity.region} at ${identity.index}`,
    );
  }
  const tally = new SnapshotTally();
  let record = await reader.next();
  for (; record?.kind === 'chunk'; record = await reader.next()) {
    tally.add(record.chunk, `${name}, chunk ${tally.chunks}`, bounds);
    await pause();
  }
  if (!record) throw corruptSnapshot(name, 'the file has no end');
  tally.check(record.totals, name);
  if (await reader.next()) throw corruptSnapshot(name, 'a record follows the end');
}

/** Deletes what is there. A family without data is left alone: a deleted range costs reads until it is compacted. */
async function clear(engine: Engine, { start, end }: ChunkBounds): Promise<void> {
  const batch = engine.batch();
  for (const cf of SNAPSHOT_FAMILIES) {
    const { keys } = await engine.scan(cf, { start, end, limit: 1, keysOnly: true });
    if (keys.length > 0) batch.deleteRange(cf, start, end);
  }
  await engine.write(batch);
}

/** @returns the chunk's last pair. */
async function write(
  engine: Engine,
  chunk: Uint8Array,
  after: SnapshotCursor | undefined,
  name: string,
  pause: () => Promise<void>,
): Promise<SnapshotCursor | undefined> {
  const pairs = new ChunkPairs(chunk, after, name);
  let batch = engine.batch();
  while (pairs.next()) {
    batch.put(pairs.cf, pairs.key, pairs.value);
    if (batch.count < BATCH_PAIRS) continue;
    await engine.write(batch);
    await pause();
    batch = engine.batch();
  }
  await engine.write(batch);
  await pause();
  return pairs.count > 0 ? { cf: pairs.cf, after: new Uint8Array(pairs.key) } : undefined;
}
