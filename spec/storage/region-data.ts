/** Data of regions for the specs: written, read back, and sent as snapshots. */
import fc from 'fast-check';
import { crc32c } from '../../storage/crc32c.js';
import {
  COLUMN_FAMILIES,
  type ColumnFamily,
  type Engine,
  type KeyRange,
  RegionSnapshotReader,
  type SideFiles,
  SimulatedDisk,
  SNAPSHOT_FAMILIES,
  type SnapshotCursor,
  SnapshotFile,
  type SnapshotIdentity,
  type SnapshotTotals,
  snapshotFileName,
  type WriteBatch,
} from '../../storage/index.js';
import { ForwardingEngine } from '../simulation/disk-record.js';

export interface Pair {
  readonly cf: ColumnFamily;
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export const IDENTITY: SnapshotIdentity = { region: 7, peer: 21, index: 1234, term: 5 };

export const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text));

export function pair(cf: ColumnFamily, key: string, value: string | Uint8Array): Pair {
  return { cf, key: bytes(key), value: typeof value === 'string' ? bytes(value) : value };
}

/** Few different keys, so that some are written twice and some lie at the bounds of a range. */
export const pairs: fc.Arbitrary<Pair[]> = fc.array(
  fc.record({
    cf: fc.constantFrom<ColumnFamily>('default', 'lock', 'write'),
    key: fc.uint8Array({ minLength: 1, maxLength: 3, min: 0x70, max: 0x74 }),
    value: fc.oneof(
      { weight: 8, arbitrary: fc.uint8Array({ maxLength: 40 }) },
      {
        weight: 1,
        arbitrary: fc.integer({ min: 20_000, max: 150_000 }).map((n) => new Uint8Array(n).fill(n)),
      },
    ),
  }),
  { maxLength: 40 },
);

export const range: fc.Arbitrary<{ start: Uint8Array; end: Uint8Array }> = fc.record({
  start: fc.uint8Array({ maxLength: 3, min: 0x70, max: 0x74 }),
  end: fc.uint8Array({ maxLength: 3, min: 0x70, max: 0x74 }),
});

export async function fill(engine: Engine, data: readonly Pair[]): Promise<void> {
  const batch = engine.batch();
  for (const { cf, key, value } of data) batch.put(cf, key, value);
  await engine.write(batch);
}

/** Everything that an engine holds in a range, of these families, in a form that can be compared. */
export async function contents(
  engine: Engine,
  within: KeyRange = {},
  families: readonly ColumnFamily[] = COLUMN_FAMILIES,
): Promise<string[]> {
  const found: string[] = [];
  for (const cf of families) {
    const { keys, values } = await engine.scan(cf, { ...within, limit: 100_000 });
    for (const [i, key] of keys.entries()) {
      const value = Buffer.from(values[i] as Uint8Array);
      const shown = value.length > 100 ? `${value.length} bytes, ${crc32c(value)}` : value.toString('hex');
      found.push(`${cf} ${Buffer.from(key).toString('hex')} ${shown}`);
    }
  }
  return found;
}

/** All chunks of a range as it is now. */
export async function chunksOf(engine: Engine, within: KeyRange = {}): Promise<Uint8Array[]> {
  const view = engine.snapshot();
  try {
    const reader = new RegionSnapshotReader(engine, view, within);
    const chunks: Uint8Array[] = [];
    let cursor: SnapshotCursor | undefined;
    do {
      const { chunk, next } = await reader.next(cursor);
      chunks.push(chunk);
      cursor = next;
    } while (cursor);
    return chunks;
  } finally {
    view.release();
  }
}

export function totalsOf(chunks: readonly Uint8Array[]): SnapshotTotals {
  return {
    chunks: chunks.length,
    bytes: chunks.reduce((sum, chunk) => sum + chunk.length, 0),
    checksum: chunks.reduce((checksum, chunk) => crc32c(chunk, 0, chunk.length, checksum), 0),
  };
}

/** Writes a whole snapshot aside and returns its name. */
export async function writeAside(
  files: SideFiles,
  chunks: readonly Uint8Array[],
  identity: SnapshotIdentity = IDENTITY,
): Promise<string> {
  const name = snapshotFileName(identity);
  const file = await SnapshotFile.open(files, name, identity);
  for (const chunk of chunks.slice(file.chunks)) await file.append(chunk);
  await file.finish(totalsOf(chunks));
  await file.close();
  return name;
}

export const noPause = async (): Promise<void> => {};

export const memory = (): Promise<Engine> => new SimulatedDisk({ random: () => 0 }).open();

export const REGION = { start: bytes('rb'), end: bytes('rd') };

/** What a store holds before: of the region, on both sides of it, and in families that are nobody's data. */
export const BEFORE: Pair[] = [
  ...SNAPSHOT_FAMILIES.flatMap((cf) =>
    ['ra', 'rb', 'rb1', 'rc', 'rczz', 'rd', 're'].map((key) => pair(cf, key, `old ${key}`)),
  ),
  ...(['log', 'raft'] as const).flatMap((cf) => ['rb', 'rc'].map((key) => pair(cf, key, 'state'))),
];

export const AFTER: Pair[] = [
  pair('default', 'rb', 'new'),
  pair('default', 'rb2', ''),
  pair('default', 'rc', new Uint8Array(300_000).fill(3)),
  pair('lock', 'rbb', 'new'),
  ...Array.from({ length: 2500 }, (_, i) => pair('write', `rc${10_000 + i}`, 'new')),
];

/** The chunks of this data. */
export async function chunksFor(data: readonly Pair[], within: KeyRange): Promise<Uint8Array[]> {
  const engine = await memory();
  await fill(engine, data);
  return chunksOf(engine, within);
}

/** What must be there afterwards: the new data in the range, the old outside it. */
export async function expected(
  before: readonly Pair[],
  after: readonly Pair[],
  within: KeyRange,
): Promise<string[]> {
  const engine = await memory();
  await fill(engine, before);
  const batch = engine.batch();
  for (const cf of SNAPSHOT_FAMILIES) {
    const { keys } = await engine.scan(cf, { ...within, limit: 100_000 });
    for (const key of keys) batch.delete(cf, key);
  }
  await engine.write(batch);
  const source = await memory();
  await fill(source, after);
  for (const cf of SNAPSHOT_FAMILIES) {
    const { keys, values } = await source.scan(cf, { ...within, limit: 100_000 });
    await fill(
      engine,
      keys.map((key, i) => ({ cf, key, value: values[i] as Uint8Array })),
    );
  }
  return contents(engine);
}

/** Notes the batches, and may do something before one of them. */
export class WatchedEngine extends ForwardingEngine {
  readonly batches: { readonly count: number; readonly bytes: number }[] = [];
  before: (batch: number) => Promise<void> = async () => {};

  override async write(batch: WriteBatch): Promise<void> {
    this.batches.push({ count: batch.count, bytes: batch.bytes });
    await this.before(this.batches.length);
    return this.inner.write(batch);
  }
}
