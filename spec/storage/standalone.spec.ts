import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import {
  type ColumnFamily,
  type Engine,
  encodeRawValue,
  openRocksEngine,
  openStandalone,
  RawOperations,
  rawKey,
  SimulatedDisk,
  type StandaloneStorage,
  StorageError,
  saveIdentity,
} from '../../storage/index.js';

const bytes = (value: string | number): Uint8Array => Uint8Array.from(Buffer.from(String(value)));
const text = (value: Uint8Array | undefined): string | undefined => value && Buffer.from(value).toString();

function describeStandalone(
  name: string,
  open: () => Promise<{ engine: Engine; destroy(): Promise<void> }>,
): void {
  describe(`Standalone storage on ${name}`, () => {
    let storage: StandaloneStorage;
    let raw: RawOperations;
    let destroy: () => Promise<void>;

    beforeEach(async () => {
      const opened = await open();
      storage = await openStandalone(opened.engine);
      raw = new RawOperations(storage);
      destroy = opened.destroy;
    });

    afterEach(async () => {
      await storage.close();
      await destroy();
    });

    const put = (cf: ColumnFamily, key: number, value: number) =>
      storage.write([{ kind: 'put', cf, key: rawKey(bytes(key)), value: encodeRawValue(bytes(value)) }]);

    async function scan(start: number, limit: number): Promise<string[]> {
      const { pairs } = await raw.scan({ start: bytes(start), limit });
      return pairs.map(({ key, value }) => `${text(key)}=${text(value)}`);
    }

    // The ten graded tests of TinyKV's first project, by their names.

    it('TestRawGet1: a value written through the storage is returned', async () => {
      await put('default', 99, 42);
      expect(text(await raw.get(bytes(99)))).to.equal('42');
    });

    it('TestRawGetNotFound1: a missing key is absent, without an error', async () => {
      expect(await raw.get(bytes(99))).to.equal(undefined);
    });

    it('TestRawPut1: a raw put is visible through the reader', async () => {
      await raw.put(bytes(99), bytes(42));
      const reader = storage.reader();
      expect(await reader.getCF('default', rawKey(bytes(99)))).to.deep.equal(
        new Uint8Array(encodeRawValue(bytes(42))),
      );
      reader.close();
    });

    it('TestRawGetAfterRawPut1: the same key has a value of its own in each family', async () => {
      await raw.put(bytes(99), bytes(42));
      await raw.put(bytes(99), bytes(44), 'write');
      expect(text(await raw.get(bytes(99)))).to.equal('42');
      expect(text(await raw.get(bytes(99), 'write'))).to.equal('44');
    });

    it('TestRawGetAfterRawDelete1: a deleted key is absent', async () => {
      await raw.put(bytes(99), bytes(42));
      await raw.delete(bytes(99));
      expect(await raw.get(bytes(99))).to.equal(undefined);
    });

    it('TestRawDelete1: the reader finds nothing under a deleted key', async () => {
      await put('default', 99, 42);
      await raw.delete(bytes(99));
      const reader = storage.reader();
      expect(await reader.getCF('default', rawKey(bytes(99)))).to.equal(undefined);
      reader.close();
    });

    it('TestRawScan1: the first three of five keys, in order', async () => {
      for (let i = 1; i <= 5; i++) await put('default', i, i * 10);
      expect(await scan(1, 3)).to.deep.equal(['1=10', '2=20', '3=30']);
    });

    it('TestRawScanAfterRawPut1: a fifth key shows up in its place', async () => {
      for (const i of [1, 2, 3, 4]) await put('default', i, i);
      await raw.put(bytes(5), bytes(5));
      expect(await scan(1, 10)).to.deep.equal(['1=1', '2=2', '3=3', '4=4', '5=5']);
    });

    it('TestRawScanAfterRawDelete1: a deleted key is left out', async () => {
      for (const i of [1, 2, 3, 4]) await put('default', i, i);
      await raw.delete(bytes(3));
      expect(await scan(1, 10)).to.deep.equal(['1=1', '2=2', '4=4']);
    });

    it('TestIterWithRawDelete1: an iterator opened before a delete still sees the key', async () => {
      for (const i of [1, 2, 3, 4]) await put('default', i, i);
      const reader = storage.reader();
      const iterator = reader.iterCF('default');
      await raw.delete(bytes(3));
      const seen: (string | undefined)[] = [];
      for (await iterator.seek(rawKey(bytes(1))); iterator.valid(); await iterator.next()) {
        seen.push(text(iterator.item().key.subarray(1)));
      }
      expect(seen).to.deep.equal(['1', '2', '3', '4']);
      reader.close();
    });

    it('iterates over more than it reads at once, and seeks back', async () => {
      await raw.batchPut(Array.from({ length: 1000 }, (_, i) => ({ key: bytes(1000 + i), value: bytes(i) })));
      const reader = storage.reader();
      const iterator = reader.iterCF('default');
      let seen = 0;
      for (await iterator.seek(rawKey(bytes(1500))); iterator.valid(); await iterator.next()) {
        expect(text(iterator.item().key.subarray(1))).to.equal(String(1500 + seen));
        seen++;
      }
      expect(seen).to.equal(500);
      expect(() => iterator.item()).to.throw(StorageError);
      await iterator.seek(rawKey(bytes(1999)));
      expect(iterator.valid()).to.equal(true);
      const found = await reader.multiGetCF('default', [rawKey(bytes(1000)), rawKey(bytes('none'))]);
      expect(found.map((value) => value !== undefined)).to.deep.equal([true, false]);
      reader.close();
    });

    it('writes batches whole, deletes keys and ranges', async () => {
      await raw.batchPut(['a', 'b', 'c', 'd', 'e'].map((k) => ({ key: bytes(k), value: bytes(k) })));
      await raw.batchDelete([bytes('a'), bytes('absent')]);
      await raw.deleteRange({ start: bytes('c'), end: bytes('e') });
      const values = await raw.batchGet(['a', 'b', 'c', 'd', 'e'].map(bytes));
      expect(values.map(text)).to.deep.equal([undefined, 'b', undefined, undefined, 'e']);
      await raw.deleteRange({});
      expect((await raw.scan({ limit: 10 })).pairs).to.deep.equal([]);
    });

    it('scans prefixes, backward, keys only, and says whether more follows', async () => {
      await raw.batchPut(['a', 'b1', 'b2', 'b3', 'c'].map((k) => ({ key: bytes(k), value: bytes(k) })));
      const keys = async (options: Parameters<RawOperations['scan']>[0]) => {
        const { pairs, more } = await raw.scan(options);
        return `${pairs.map(({ key }) => text(key)).join(' ')}${more ? ' …' : ''}`;
      };
      expect(await keys({ prefix: bytes('b'), limit: 10 })).to.equal('b1 b2 b3');
      expect(await keys({ prefix: bytes('b'), limit: 2, reverse: true })).to.equal('b3 b2 …');
      expect(await keys({ start: bytes('b2'), limit: 10 })).to.equal('b2 b3 c');
      expect(await keys({ end: bytes('b2'), limit: 10 })).to.equal('a b1');
      expect((await raw.scan({ limit: 1, keysOnly: true })).pairs[0]?.value).to.have.length(0);
    });

    it('compares and swaps: what is absent, what is equal, and not what differs', async () => {
      const swap = async (expected: string | undefined, value: string) => {
        const result = await raw.compareAndSwap(
          bytes('k'),
          expected === undefined ? undefined : bytes(expected),
          bytes(value),
        );
        return [result.swapped, text(result.previous)];
      };
      expect(await swap('x', '1')).to.deep.equal([false, undefined]);
      expect(await swap(undefined, '')).to.deep.equal([true, undefined]);
      expect(await swap(undefined, '2')).to.deep.equal([false, '']);
      expect(await swap('', '2')).to.deep.equal([true, '']);
      expect(await swap('1', '3')).to.deep.equal([false, '2']);
      expect(text(await raw.get(bytes('k')))).to.equal('2');
    });

    it('lets one of many concurrent swaps win each round', async () => {
      await raw.put(bytes('counter'), bytes(0));
      let wins = 0;
      const increment = async () => {
        for (let tries = 0; tries < 60; tries++) {
          const now = text(await raw.get(bytes('counter'))) ?? '';
          const { swapped } = await raw.compareAndSwap(bytes('counter'), bytes(now), bytes(Number(now) + 1));
          if (swapped) wins++;
        }
      };
      await Promise.all(Array.from({ length: 5 }, increment));
      expect(wins).to.be.at.least(60);
      expect(text(await raw.get(bytes('counter')))).to.equal(String(wins));
    });

    it('lets changes of one turn see each other in order', async () => {
      const results = await Promise.all([
        raw.put(bytes('k'), bytes('1')),
        raw.compareAndSwap(bytes('k'), bytes('1'), bytes('2')),
        raw.delete(bytes('k')),
        raw.compareAndSwap(bytes('k'), undefined, bytes('3')),
        raw.deleteRange({}),
        raw.compareAndSwap(bytes('k'), undefined, bytes('4')),
      ]);
      expect([results[1], results[3], results[5]].map(({ swapped }) => swapped)).to.deep.equal([
        true,
        true,
        true,
      ]);
      expect(text(await raw.get(bytes('k')))).to.equal('4');
    });

    it('refuses keys that are empty or too long, alone', async () => {
      const calls = await Promise.allSettled([
        raw.put(bytes(''), bytes('v')),
        raw.put(new Uint8Array(4097), bytes('v')),
        raw.get(bytes('')),
        raw.compareAndSwap(bytes(''), undefined, bytes('')),
        raw.put(bytes('fine'), bytes('v')),
      ]);
      expect(calls.map(({ status }) => status)).to.deep.equal([...Array(4).fill('rejected'), 'fulfilled']);
    });

    it('refuses the data of a store of a cluster', async () => {
      const batch = storage.engine.batch();
      saveIdentity(batch, { clusterId: 1, storeId: 4, node: 'store-4', cluster: 'demo', incarnation: 1 });
      await storage.engine.write(batch);
      const error = await openStandalone(storage.engine).catch((e: unknown) => e);
      expect((error as StorageError).code).to.equal('identity');
      expect((error as Error).message).to.match(/belongs to store 4 \(store-4\) of cluster demo/);
    });
  });
}

describeStandalone('RocksDB', async () => {
  const path = await mkdtemp(join(tmpdir(), 'troupe-standalone-'));
  return {
    engine: await openRocksEngine({ path }),
    destroy: () => rm(path, { recursive: true, force: true }),
  };
});

describeStandalone('the simulated disk', async () => ({
  engine: await new SimulatedDisk({ random: () => 0 }).open(),
  destroy: async () => {},
}));
