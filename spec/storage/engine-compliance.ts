/** What every engine must do, whatever stands behind it. Call it inside a spec file with a way to open engines. */
import { expect } from 'chai';
import fc from 'fast-check';
import {
  COLUMN_FAMILIES,
  type ColumnFamily,
  compareBytes,
  DirectoryLockedError,
  type Engine,
  StorageError,
} from '../../storage/index.js';

export interface EngineUnderTest {
  /** Opens the engine over the same data each time. */
  open(): Promise<Engine>;
  /** Removes the data. */
  destroy(): Promise<void>;
}

const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text));
const text = (value: Uint8Array | undefined): string | undefined => value && Buffer.from(value).toString();
const texts = (values: readonly Uint8Array[]): (string | undefined)[] => values.map(text);

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  return undefined;
}

export function describeEngine(name: string, create: () => Promise<EngineUnderTest>): void {
  describe(`Engine: ${name}`, () => {
    let under: EngineUnderTest;
    let engine: Engine;

    beforeEach(async () => {
      under = await create();
      engine = await under.open();
    });

    afterEach(async () => {
      await engine.close();
      await under.destroy();
    });

    async function put(cf: ColumnFamily, ...pairs: [string, string][]): Promise<void> {
      const batch = engine.batch();
      for (const [key, value] of pairs) batch.put(cf, bytes(key), bytes(value));
      await engine.write(batch);
    }

    it('gives back what was written, and undefined for what was not', async () => {
      await put('default', ['a', '1']);
      expect(text(await engine.get('default', bytes('a')))).to.equal('1');
      expect(await engine.get('default', bytes('b'))).to.equal(undefined);
    });

    it('keeps the column families apart', async () => {
      for (const cf of COLUMN_FAMILIES) await put(cf, ['k', cf]);
      for (const cf of COLUMN_FAMILIES) expect(text(await engine.get(cf, bytes('k')))).to.equal(cf);
    });

    it('tells an empty value from an absent one', async () => {
      await put('default', ['empty', '']);
      const [empty, absent] = await engine.multiGet('default', [bytes('empty'), bytes('absent')]);
      expect(empty).to.have.length(0);
      expect(absent).to.equal(undefined);
    });

    it('reads many keys in one call, in their order, repeated ones too', async () => {
      const count = 1000;
      await put('log', ...Array.from({ length: count }, (_, i): [string, string] => [`k${i}`, `v${i}`]));
      const asked = Array.from({ length: count }, (_, i) => (i * 7) % (count + 10));
      const values = await engine.multiGet(
        'log',
        asked.map((i) => bytes(`k${i}`)),
      );
      expect(values.map(text)).to.deep.equal(asked.map((i) => (i < count ? `v${i}` : undefined)));
      expect(await engine.multiGet('log', [])).to.deep.equal([]);
    });

    it('applies the changes of a batch in order, all families at once', async () => {
      const batch = engine.batch();
      batch.put('default', bytes('a'), bytes('old'));
      batch.put('default', bytes('a'), bytes('new'));
      batch.put('lock', bytes('l'), bytes('1'));
      batch.delete('lock', bytes('l'));
      batch.delete('write', bytes('never there'));
      expect(batch.count).to.equal(5);
      expect(batch.bytes).to.equal(22);
      await engine.write(batch);
      expect(text(await engine.get('default', bytes('a')))).to.equal('new');
      expect(await engine.get('lock', bytes('l'))).to.equal(undefined);
    });

    it('takes back the changes after a place in the batch', async () => {
      const batch = engine.batch();
      batch.put('default', bytes('a'), bytes('1'));
      const { count, bytes: size } = batch;
      batch.put('default', bytes('b'), bytes('2'));
      batch.delete('default', bytes('a'));
      batch.deleteRange('default', bytes('a'), bytes('z'));
      batch.truncate(count);
      expect(batch.count).to.equal(count);
      expect(batch.bytes).to.equal(size);
      await engine.write(batch);
      expect(texts((await engine.scan('default', { limit: 9 })).keys)).to.deep.equal(['a']);
    });

    it('takes an empty batch', async () => {
      await engine.write(engine.batch());
      await engine.sync();
    });

    it('lets writes take effect in call order', async () => {
      const writes: Promise<void>[] = [];
      for (let i = 0; i < 50; i++) writes.push(put('default', ['k', String(i)], [`k${i}`, 'x']));
      await Promise.all(writes);
      expect(text(await engine.get('default', bytes('k')))).to.equal('49');
      expect((await engine.scan('default', { limit: 100 })).keys).to.have.length(51);
    });

    it('deletes ranges: start included, end not', async () => {
      await put('default', ['a', '1'], ['b', '2'], ['c', '3'], ['d', '4']);
      await put('write', ['b', 'stays']);
      const batch = engine.batch();
      batch.deleteRange('default', bytes('b'), bytes('d'));
      batch.put('default', bytes('c'), bytes('after'));
      await engine.write(batch);
      const { keys, values } = await engine.scan('default', { limit: 9 });
      expect(texts(keys)).to.deep.equal(['a', 'c', 'd']);
      expect(texts(values)).to.deep.equal(['1', 'after', '4']);
      expect(text(await engine.get('write', bytes('b')))).to.equal('stays');
    });

    it('ignores a backward range and refuses one without an end', async () => {
      await put('default', ['b', '2']);
      const batch = engine.batch();
      batch.deleteRange('default', bytes('c'), bytes('a'));
      batch.deleteRange('default', bytes('b'), bytes('b'));
      expect(batch.count).to.equal(0);
      expect(() => batch.deleteRange('default', bytes('b'), bytes(''))).to.throw(RangeError);
      await engine.write(batch);
      expect(text(await engine.get('default', bytes('b')))).to.equal('2');
    });

    describe('scan', () => {
      beforeEach(() => put('default', ['a', '1'], ['b', '22'], ['ba', '333'], ['c', '4'], ['d', '5']));

      it('goes over [start, end) in order and against it', async () => {
        const range = { start: bytes('b'), end: bytes('d') };
        const up = await engine.scan('default', { ...range, limit: 10 });
        expect(texts(up.keys)).to.deep.equal(['b', 'ba', 'c']);
        expect(texts(up.values)).to.deep.equal(['22', '333', '4']);
        expect(up.more).to.equal(false);
        const down = await engine.scan('default', { ...range, limit: 10, reverse: true });
        expect(texts(down.keys)).to.deep.equal(['c', 'ba', 'b']);
      });

      it('takes absent and empty bounds as open', async () => {
        const all = ['a', 'b', 'ba', 'c', 'd'];
        expect(texts((await engine.scan('default', { limit: 10 })).keys)).to.deep.equal(all);
        const empty = { start: bytes(''), end: bytes(''), limit: 10 };
        expect(texts((await engine.scan('default', empty)).keys)).to.deep.equal(all);
        expect(texts((await engine.scan('default', { ...empty, reverse: true })).keys)).to.deep.equal(
          all.reverse(),
        );
      });

      it('says whether more follows, exactly', async () => {
        expect((await engine.scan('default', { limit: 4 })).more).to.equal(true);
        expect((await engine.scan('default', { limit: 5 })).more).to.equal(false);
        expect((await engine.scan('default', { limit: 2, end: bytes('ba') })).more).to.equal(false);
        expect((await engine.scan('default', { limit: 1, reverse: true, start: bytes('c') })).more).to.equal(
          true,
        );
      });

      it('stops after the key that reaches the bytes', async () => {
        const { keys, more } = await engine.scan('default', { limit: 10, maxBytes: 5 });
        expect(texts(keys)).to.deep.equal(['a', 'b']);
        expect(more).to.equal(true);
        const one = await engine.scan('default', { limit: 10, maxBytes: 1 });
        expect(texts(one.keys)).to.deep.equal(['a']);
        const all = await engine.scan('default', { limit: 10, maxBytes: 1000 });
        expect(all.keys).to.have.length(5);
        expect(all.more).to.equal(false);
      });

      it('leaves values out when only keys are asked', async () => {
        const { keys, values } = await engine.scan('default', { limit: 3, keysOnly: true });
        expect(texts(keys)).to.deep.equal(['a', 'b', 'ba']);
        expect(values.map((value) => value.length)).to.deep.equal([0, 0, 0]);
      });

      it('reads more keys than fit into one native call', async () => {
        const batch = engine.batch();
        const name = (i: number) => bytes(`n${String(i).padStart(5, '0')}`);
        for (let i = 0; i < 3000; i++) batch.put('write', name(i), bytes(String(i)));
        await engine.write(batch);
        const { keys, values, more } = await engine.scan('write', { limit: 2999 });
        expect(keys).to.have.length(2999);
        expect(text(values[2998])).to.equal('2998');
        expect(more).to.equal(true);
        const some = await engine.scan('write', { limit: 3000, maxBytes: 9000, reverse: true });
        expect(some.keys.length).to.equal(900);
        expect(text(some.keys[0])).to.equal('n02999');
      });
    });

    it('reads through a snapshot as if nothing had happened since', async () => {
      await put('default', ['a', '1'], ['b', '1']);
      const snapshot = engine.snapshot();
      const batch = engine.batch();
      batch.put('default', bytes('a'), bytes('2'));
      batch.delete('default', bytes('b'));
      batch.put('default', bytes('c'), bytes('2'));
      await engine.write(batch);
      expect(text(await engine.get('default', bytes('a'), snapshot))).to.equal('1');
      const then = await engine.scan('default', { limit: 9, snapshot });
      expect(texts(then.keys)).to.deep.equal(['a', 'b']);
      const now = await engine.scan('default', { limit: 9 });
      expect(texts(now.keys)).to.deep.equal(['a', 'c']);
      snapshot.release();
      snapshot.release();
      const error = await rejection(engine.get('default', bytes('a'), snapshot));
      expect(error).to.be.instanceOf(StorageError);
    });

    it('answers a read through a snapshot that is released right after the call', async () => {
      await put('default', ['a', '1']);
      const reads: Promise<unknown>[] = [];
      for (let i = 0; i < 50; i++) {
        const snapshot = engine.snapshot();
        reads.push(
          engine.get('default', bytes('a'), snapshot).then((value) => expect(text(value)).to.equal('1')),
        );
        reads.push(
          engine
            .scan('default', { limit: 2, snapshot })
            .then(({ keys }) => expect(texts(keys)).to.deep.equal(['a'])),
        );
        snapshot.release();
      }
      await put('default', ['a', '2'], ['b', '2']);
      await Promise.all(reads);
    });

    it('closes with a snapshot still held', async () => {
      await put('default', ['a', '1']);
      const snapshot = engine.snapshot();
      await engine.close();
      snapshot.release();
    });

    it('keeps everything over a close, unsynced writes too', async () => {
      await put('default', ['a', '1']);
      await engine.sync();
      await put('raft', ['b', '2']);
      await engine.close();
      engine = await under.open();
      expect(text(await engine.get('default', bytes('a')))).to.equal('1');
      expect(text(await engine.get('raft', bytes('b')))).to.equal('2');
    });

    it('refuses calls after the close, which may be repeated', async () => {
      await engine.close();
      await engine.close();
      for (const call of [
        () => put('default', ['a', '1']),
        () => engine.sync(),
        () => engine.get('default', bytes('a')),
        () => engine.scan('default', { limit: 1 }),
      ]) {
        const error = await rejection(call());
        expect(error).to.be.instanceOf(StorageError);
        expect((error as StorageError).code).to.equal('closed');
      }
      expect(() => engine.snapshot()).to.throw(StorageError);
    });

    it('waits at the close for what is under way', async () => {
      const writes = Array.from({ length: 20 }, (_, i) => put('default', [`k${i}`, 'v']));
      const read = engine.scan('default', { limit: 100 });
      const sync = engine.sync();
      await engine.close();
      await Promise.all([...writes, read, sync]);
      engine = await under.open();
      expect((await engine.scan('default', { limit: 100 })).keys).to.have.length(20);
    });

    it('cannot be opened twice', async () => {
      const error = await rejection(under.open());
      expect(error).to.be.instanceOf(DirectoryLockedError);
      expect((error as DirectoryLockedError).pid).to.equal(process.pid);
    });

    it('shares syncs that are asked for together', async () => {
      await put('default', ['a', '1']);
      await Promise.all(Array.from({ length: 100 }, () => engine.sync()));
    });

    it('estimates the size of a range', async () => {
      const batch = engine.batch();
      for (let i = 0; i < 2000; i++) batch.put('default', bytes(`k${1000 + i}`), new Uint8Array(500).fill(i));
      await engine.write(batch);
      const whole = await engine.approximateSize('default', {});
      expect(whole).to.be.within(200_000, 3_000_000);
      const none = await engine.approximateSize('default', { start: bytes('x') });
      expect(none).to.be.below(whole / 4);
    });

    it('says how it does', async () => {
      const before = await engine.statistics();
      const batch = engine.batch();
      for (let i = 0; i < 200; i++) batch.put('write', bytes(`k${1000 + i}`), new Uint8Array(500).fill(i));
      await engine.write(batch);
      const { memtableBytes, tableBytes, ...rest } = await engine.statistics();
      expect(memtableBytes + tableBytes).to.be.within(
        before.memtableBytes + before.tableBytes + 100_000,
        3_000_000,
      );
      expect(rest.pendingCompactionBytes).to.be.within(0, 3_000_000);
      expect(rest.writesStopped).to.equal(false);
    });

    it('behaves like a sorted list under any sequence of changes and scans', async () => {
      const key = fc.uint8Array({ minLength: 1, maxLength: 3, max: 3 });
      const change = fc.oneof(
        { weight: 5, arbitrary: fc.record({ put: key, value: fc.uint8Array({ maxLength: 4 }) }) },
        { weight: 2, arbitrary: fc.record({ delete: key }) },
        { weight: 1, arbitrary: fc.record({ start: key, end: key }) },
      );
      const scan = fc.record({
        start: fc.option(key, { nil: undefined }),
        end: fc.option(key, { nil: undefined }),
        reverse: fc.boolean(),
        limit: fc.integer({ min: 1, max: 6 }),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(change, { maxLength: 30 }), scan, async (changes, wanted) => {
          let model: [Uint8Array, Uint8Array][] = [];
          const without = (gone: (key: Uint8Array) => boolean) => model.filter(([k]) => !gone(k));
          const batch = engine.batch();
          batch.deleteRange('default', bytes('\0'), bytes('~'));
          for (const c of changes) {
            if ('put' in c) {
              batch.put('default', c.put, c.value);
              model = [...without((k) => compareBytes(k, c.put) === 0), [c.put, c.value]];
            } else if ('delete' in c) {
              batch.delete('default', c.delete);
              model = without((k) => compareBytes(k, c.delete) === 0);
            } else {
              batch.deleteRange('default', c.start, c.end);
              model = without((k) => compareBytes(k, c.start) >= 0 && compareBytes(k, c.end) < 0);
            }
          }
          await engine.write(batch);
          const { start, end, reverse, limit } = wanted;
          const inRange = model
            .filter(([k]) => (!start || compareBytes(k, start) >= 0) && (!end || compareBytes(k, end) < 0))
            .sort(([a], [b]) => (reverse ? compareBytes(b, a) : compareBytes(a, b)));
          const result = await engine.scan('default', {
            ...(start ? { start } : {}),
            ...(end ? { end } : {}),
            reverse,
            limit,
          });
          const hex = (list: readonly Uint8Array[]) => list.map((b) => Buffer.from(b).toString('hex'));
          expect(hex(result.keys)).to.deep.equal(hex(inRange.slice(0, limit).map(([k]) => k)));
          expect(hex(result.values)).to.deep.equal(hex(inRange.slice(0, limit).map(([, v]) => v)));
          expect(result.more).to.equal(inRange.length > limit);
        }),
        { numRuns: 200, seed: 7 },
      );
    });
  });
}
