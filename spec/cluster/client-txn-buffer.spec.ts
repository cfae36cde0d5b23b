import { expect } from 'chai';
import fc from 'fast-check';
import type { ScanEntry } from '../../cluster/client/scan.js';
import { mergedScan } from '../../cluster/client/txn/merged-scan.js';
import { WriteBuffer } from '../../cluster/client/txn/write-buffer.js';
import { TroupeError } from '../../cluster/errors.js';
import { kvrpcpb } from '../../cluster/proto/index.js';
import { name } from './client-world.js';

const { Op } = kvrpcpb;
const bytes = (text: string) => Buffer.from(text, 'latin1');
const NO_LIMITS = { maxKeys: 1_000, maxBytes: 1_000_000 };

async function* entries(pairs: readonly (readonly [string, string])[]): AsyncGenerator<ScanEntry> {
  for (const [key, value] of pairs) yield { key: bytes(key), value: bytes(value) };
}

describe('the write buffer', () => {
  type Step = 'put' | 'insert' | 'delete' | 'lock';
  const rows: readonly (readonly [steps: readonly Step[], op: kvrpcpb.Op, seen: string | undefined])[] = [
    [['put'], Op.Put, 'v'],
    [['delete'], Op.Del, undefined],
    [['insert'], Op.Insert, 'v'],
    [['lock'], Op.Lock, 'asks'],
    [['put', 'delete'], Op.Del, undefined],
    [['delete', 'put'], Op.Put, 'v'],
    [['insert', 'put'], Op.Insert, 'v'],
    [['insert', 'delete'], Op.CheckNotExists, undefined],
    [['insert', 'delete', 'put'], Op.Insert, 'v'],
    [['insert', 'delete', 'insert'], Op.Insert, 'v'],
    [['delete', 'insert'], Op.Put, 'v'],
    [['lock', 'put'], Op.Put, 'v'],
    [['lock', 'insert'], Op.Insert, 'v'],
    [['put', 'lock'], Op.Put, 'v'],
  ];
  for (const [steps, op, seen] of rows) {
    it(`makes one mutation of ${steps.join(', ')}`, () => {
      const buffer = new WriteBuffer(NO_LIMITS);
      const key = bytes('k');
      for (const step of steps) {
        if (step === 'put' || step === 'insert') buffer[step](key, bytes('v'));
        else buffer[step](key);
      }
      expect(buffer.mutations().map((one) => one.op)).to.deep.equal([op]);
      const read = buffer.read(key);
      expect(read === undefined ? 'asks' : read.value && name(read.value)).to.equal(seen);
    });
  }

  it('refuses to insert what the transaction has written itself', () => {
    const buffer = new WriteBuffer(NO_LIMITS);
    buffer.put(bytes('k'), bytes('v'));
    expect(() => buffer.insert(bytes('k'), bytes('w')))
      .to.throw(TroupeError)
      .with.property('reason', 'already-exists');
  });

  it('keeps its limits, and what it had when it refuses', () => {
    const buffer = new WriteBuffer({ maxKeys: 2, maxBytes: 10 });
    buffer.put(bytes('a'), bytes('1234'));
    expect(() => buffer.put(bytes('b'), bytes('123456'))).to.throw(TroupeError, /larger than 10 bytes/);
    buffer.put(bytes('b'), bytes('1'));
    expect(() => buffer.delete(bytes('c'))).to.throw(TroupeError, /larger than 2 keys/);
    buffer.put(bytes('a'), bytes('12345678').subarray(0, 7));
    expect({ size: buffer.size, bytes: buffer.bytes }).to.deep.equal({ size: 2, bytes: 10 });
  });

  it('shows what a sorted map would show, over any stored pairs', async () => {
    const key = fc
      .array(fc.constantFrom('\x00', 'a', 'b', '\xff'), { minLength: 1, maxLength: 3 })
      .map((parts) => parts.join(''));
    const bound = fc.option(key, { nil: undefined });
    const step = fc.record({ key, kind: fc.constantFrom('put', 'delete', 'lock'), scanFirst: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(key, { maxLength: 15 }),
        fc.array(step, { maxLength: 20 }),
        fc.record({ start: bound, end: bound, reverse: fc.boolean(), keysOnly: fc.boolean() }),
        fc.oneof(fc.nat(8), fc.constant(Number.POSITIVE_INFINITY)),
        async (stored, steps, { start = '', end, reverse, keysOnly }, limit) => {
          const buffer = new WriteBuffer(NO_LIMITS);
          const model = new Map(stored.map((one) => [one, 'stored']));
          steps.forEach(({ key: at, kind, scanFirst }, i) => {
            // The order is made at the first scan and kept from then on.
            if (scanFirst) buffer.range(bytes(''), undefined, false);
            if (kind === 'put') {
              buffer.put(bytes(at), bytes(`own ${i}`));
              model.set(at, `own ${i}`);
            } else if (kind === 'delete') {
              buffer.delete(bytes(at));
              model.delete(at);
            } else {
              buffer.lock(bytes(at));
            }
          });
          const isInside = (at: string) => at >= start && (end === undefined || at < end);
          const inOrder = (keys: Iterable<string>) => {
            const sorted = [...keys].filter(isInside).sort();
            return reverse ? sorted.reverse() : sorted;
          };
          const found: string[] = [];
          const own = buffer.range(bytes(start), end === undefined ? undefined : bytes(end), reverse);
          const pairs = inOrder(stored).map((at) => [at, keysOnly ? '' : 'stored'] as const);
          for await (const { key: at, value } of mergedScan(entries(pairs), own, {
            reverse,
            keysOnly,
            limit,
          }))
            found.push(`${name(at)}=${name(value)}`);
          const expected = inOrder(model.keys()).map((at) => `${at}=${keysOnly ? '' : model.get(at)}`);
          expect(found).to.deep.equal(expected.slice(0, limit));
        },
      ),
      { numRuns: 500, seed: 5 },
    );
  });
});
