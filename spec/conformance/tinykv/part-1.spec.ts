import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import {
  type ColumnFamily,
  decodeRawValue,
  encodeRawValue,
  type Modify,
  openRocksEngine,
  openStandalone,
  RawOperations,
  rawKey,
  rawRange,
  type StandaloneStorage,
} from '../../../storage/index.js';

const CF: ColumnFamily = 'default';

const key = (value: number): Uint8Array => Uint8Array.of(value);

function put(cf: ColumnFamily, userKey: number, value: number): Modify {
  return { kind: 'put', cf, key: rawKey(key(userKey)), value: encodeRawValue(key(value)) };
}

/** TinyKV's requests are calls of the raw operations here: a node alone has no region to name. */
describe('TinyKV part 1', () => {
  let path: string;
  let storage: StandaloneStorage;
  let raw: RawOperations;

  beforeEach(async () => {
    path = await mkdtemp(join(tmpdir(), 'troupe-tinykv-'));
    storage = await openStandalone(await openRocksEngine({ path }));
    raw = new RawOperations(storage);
  });

  afterEach(async () => {
    await storage.close();
    await rm(path, { recursive: true, force: true });
  });

  /** The value of a key as a reader of the storage sees it. */
  async function stored(cf: ColumnFamily, userKey: number): Promise<number | undefined> {
    const reader = storage.reader();
    const value = await reader.getCF(cf, rawKey(key(userKey)));
    reader.close();
    return value && decodeRawValue(value).value[0];
  }

  /** Puts keys 1 to `count` with ten times their values, the last first. */
  function fill(count: number): Promise<void> {
    return storage.write(Array.from({ length: count }, (_, i) => put(CF, count - i, 10 * (count - i))));
  }

  async function scan(
    from: number,
    limit: number,
  ): Promise<[key: number | undefined, value: number | undefined][]> {
    const { pairs } = await raw.scan({ start: key(from), limit }, CF);
    return pairs.map((pair) => [pair.key[0], pair.value[0]]);
  }

  it('TestRawGet1', async () => {
    await storage.write([put(CF, 99, 42)]);
    expect(await raw.get(key(99), CF)).to.deep.equal(Buffer.from([42]));
  });

  it('TestRawGetNotFound1', async () => {
    expect(await raw.get(key(99), CF)).to.equal(undefined);
  });

  it('TestRawPut1', async () => {
    await raw.put(key(99), key(42), CF);
    expect(await stored(CF, 99)).to.equal(42);
  });

  it('TestRawGetAfterRawPut1', async () => {
    await raw.put(key(99), key(42), 'default');
    await raw.put(key(99), key(44), 'write');
    expect(await raw.get(key(99), 'default')).to.deep.equal(Buffer.from([42]));
    expect(await raw.get(key(99), 'write')).to.deep.equal(Buffer.from([44]));
    expect(await raw.get(key(99), 'lock')).to.equal(undefined);
    expect(await stored('default', 99)).to.equal(42);
    expect(await stored('write', 99)).to.equal(44);
  });

  it('TestRawGetAfterRawDelete1', async () => {
    await storage.write([put(CF, 99, 42)]);
    await raw.delete(key(99), CF);
    expect(await raw.get(key(99), CF)).to.equal(undefined);
  });

  it('TestRawDelete1', async () => {
    await storage.write([put(CF, 99, 42)]);
    expect(await stored(CF, 99)).to.equal(42);
    await raw.delete(key(99), CF);
    expect(await stored(CF, 99)).to.equal(undefined);
  });

  it('TestRawScan1', async () => {
    await fill(5);
    expect(await scan(1, 3)).to.deep.equal([
      [1, 10],
      [2, 20],
      [3, 30],
    ]);
  });

  it('TestRawScanAfterRawPut1', async () => {
    await fill(4);
    await raw.put(key(5), key(50), CF);
    expect(await scan(1, 10)).to.deep.equal([
      [1, 10],
      [2, 20],
      [3, 30],
      [4, 40],
      [5, 50],
    ]);
  });

  it('TestRawScanAfterRawDelete1', async () => {
    await fill(4);
    await raw.delete(key(3), CF);
    expect(await scan(1, 10)).to.deep.equal([
      [1, 10],
      [2, 20],
      [4, 40],
    ]);
  });

  it('TestIterWithRawDelete1', async () => {
    await fill(4);
    const reader = storage.reader();
    const iterator = reader.iterCF(CF);
    await raw.delete(key(3), CF);
    expect(await raw.get(key(3), CF)).to.equal(undefined);

    const seen: [key: number | undefined, value: number | undefined][] = [];
    for (await iterator.seek(rawRange().start); iterator.valid(); await iterator.next()) {
      const { key: at, value } = iterator.item();
      seen.push([at[1], decodeRawValue(value).value[0]]);
    }
    reader.close();
    expect(seen).to.deep.equal([
      [1, 10],
      [2, 20],
      [3, 30],
      [4, 40],
    ]);
  });
});
