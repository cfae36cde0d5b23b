import { expect } from 'chai';
import fc from 'fast-check';
import type { ColumnFamily } from '../../storage/index.js';
import { compareBytes, StorageError } from '../../storage/index.js';
import {
  ChunkBuilder,
  ChunkPairs,
  checkChunk,
  SNAPSHOT_CHUNK_BYTES,
  SNAPSHOT_FAMILIES,
  type SnapshotCursor,
} from '../../storage/snapshot-chunk.js';
import { bytes, type Pair, pair, pairs } from './region-data.js';

function encode(...data: Pair[]): Uint8Array {
  const builder = new ChunkBuilder();
  for (const { cf, key, value } of data) expect(builder.add(cf, key, value)).to.equal(true);
  return builder.encode();
}

function decode(chunk: Uint8Array, after?: SnapshotCursor): Pair[] {
  const found: Pair[] = [];
  const reader = new ChunkPairs(chunk, after, 'test');
  while (reader.next()) {
    found.push({ cf: reader.cf, key: new Uint8Array(reader.key), value: new Uint8Array(reader.value) });
  }
  expect(found).to.have.length(reader.count);
  return found;
}

function corruption(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    expect(error).to.be.instanceOf(StorageError);
    expect((error as StorageError).code).to.equal('corrupt-snapshot');
    return (error as StorageError).message;
  }
  throw new Error('was taken');
}

/** In the order of a chunk, each key once. */
function ordered(data: readonly Pair[]): Pair[] {
  const family = ({ cf }: Pair) => SNAPSHOT_FAMILIES.indexOf(cf);
  return [...data]
    .sort((a, b) => family(a) - family(b) || compareBytes(a.key, b.key))
    .filter((p, i, all) => {
      const before = all[i - 1];
      return !before || before.cf !== p.cf || compareBytes(before.key, p.key) !== 0;
    });
}

/** A chunk made by hand: version and count, then the bytes. */
const raw = (count: number, ...rest: (number | string)[]): Uint8Array =>
  Buffer.concat([
    Uint8Array.of(1, count, 0, 0, 0),
    ...rest.map((part) => (typeof part === 'number' ? Uint8Array.of(part) : bytes(part))),
  ]);

describe('Snapshot chunks', () => {
  it('give back what was put in, in order', () => {
    const data = [
      pair('default', 'a', '1'),
      pair('default', 'b', ''),
      pair('lock', 'a', new Uint8Array(300).fill(7)),
      pair('write', 'a', new Uint8Array(40_000).fill(8)),
    ];
    expect(decode(encode(...data))).to.deep.equal(data);
  });

  it('have a fixed form', () => {
    const chunk = encode(pair('default', 'ab', 'x'), pair('write', 'c', new Uint8Array(130).fill(1)));
    const expected = `01 02000000  01 02 01 6162 78  03 01 8201 63 ${'01'.repeat(130)}`;
    expect(Buffer.from(chunk).toString('hex')).to.equal(expected.replaceAll(' ', ''));
    expect(Buffer.from(encode()).toString('hex')).to.equal('0100000000');
  });

  it('give back any pairs', () => {
    fc.assert(
      fc.property(pairs, (some) => {
        const data = ordered(some.filter(({ value }) => value.length < 100));
        expect(decode(encode(...data))).to.deep.equal(data);
        const last = data[data.length - 1];
        const after = last && { cf: last.cf, after: last.key };
        expect(checkChunk(encode(...data), undefined, 'test')).to.deep.equal(after);
      }),
      { numRuns: 200, seed: 3 },
    );
  });

  it('take 64 KiB, and one larger pair alone', () => {
    const builder = new ChunkBuilder();
    expect(builder.room).to.equal(SNAPSHOT_CHUNK_BYTES);
    expect(builder.add('default', bytes('a'), new Uint8Array(SNAPSHOT_CHUNK_BYTES - 3))).to.equal(true);
    expect(builder.room).to.equal(2);
    expect(builder.add('default', bytes('b'), bytes('12'))).to.equal(false);
    expect(builder.add('default', bytes('b'), bytes('1'))).to.equal(true);
    expect(builder.add('lock', bytes('c'), bytes(''))).to.equal(false);
    expect(decode(builder.encode())).to.have.length(2);
    const large = new ChunkBuilder();
    expect(large.add('default', bytes('a'), new Uint8Array(3 << 20))).to.equal(true);
    expect(large.room).to.equal(0);
    expect(large.add('default', bytes('b'), bytes(''))).to.equal(false);
    expect(decode(large.encode())[0]?.value).to.have.length(3 << 20);
  });

  it('are refused wherever they are cut off, and when bytes follow', () => {
    const chunk = encode(pair('default', 'key', 'value'), pair('write', 'key', new Uint8Array(200)));
    for (let length = 0; length < chunk.length; length++) {
      expect(corruption(() => checkChunk(chunk.subarray(0, length), undefined, 'from store 3'))).to.match(
        /^from store 3: .*\. Discard this snapshot and ask the leader for another one\.$/,
      );
    }
    corruption(() => checkChunk(Buffer.concat([chunk, Uint8Array.of(0)]), undefined, 'test'));
  });

  it('never read outside themselves, whatever the bytes are', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60, max: 12 }), (rest) => {
        const chunk = Buffer.concat([Uint8Array.of(1, 2, 0, 0, 0), rest]);
        try {
          const found = decode(chunk);
          expect(Buffer.from(encode(...found))).to.deep.equal(chunk);
        } catch (error) {
          expect((error as StorageError).code).to.equal('corrupt-snapshot');
        }
      }),
      { numRuns: 3000, seed: 9 },
    );
  });

  it('are refused with another version, a strange family, an empty key, or a length that is none', () => {
    expect(corruption(() => decode(Uint8Array.of(2, 0, 0, 0, 0)))).to.include('has version 2');
    expect(corruption(() => decode(raw(1, 0, 1, 0, 'k')))).to.include('no family 0');
    expect(corruption(() => decode(raw(1, 4, 1, 0, 'k')))).to.include('no family 4');
    expect(corruption(() => decode(raw(1, 1, 0, 1, 'v')))).to.include('a key is empty');
    // 1 in two bytes; 36 bits; more than there are.
    expect(corruption(() => decode(raw(1, 1, 0x81, 0, 0, 'k')))).to.include('a length');
    expect(corruption(() => decode(raw(1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 'k')))).to.include(
      'a length',
    );
    expect(corruption(() => decode(raw(1, 1, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 'k')))).to.include('cut short');
    expect(decode(raw(1, 1, 1, 0, 'k'))).to.deep.equal([pair('default', 'k', '')]);
  });

  it('are refused when keys or families are out of order', () => {
    const one = (family: number, key: string) => String.fromCharCode(family, key.length, 0) + key;
    for (const [first, second] of [
      [one(1, 'b'), one(1, 'a')],
      [one(1, 'a'), one(1, 'a')],
      [one(1, 'ab'), one(1, 'a')],
      [one(2, 'a'), one(1, 'b')],
      [one(3, 'a'), one(2, 'b')],
    ] as const) {
      expect(corruption(() => decode(raw(2, first, second)))).to.match(/the key "[ab]+" is out of order/);
    }
    expect(decode(raw(2, one(1, 'b'), one(2, 'a')))).to.have.length(2);
    expect(decode(raw(2, one(1, 'a'), one(1, 'ab')))).to.have.length(2);
  });

  it('are refused behind a chunk that they do not follow', () => {
    const behind = (cf: ColumnFamily, key: string): SnapshotCursor => ({ cf, after: bytes(key) });
    const chunk = encode(pair('lock', 'm', '1'), pair('write', 'a', '2'));
    for (const place of [behind('default', 'z'), behind('lock', 'l'), behind('lock', '')]) {
      expect(decode(chunk, place)).to.have.length(2);
    }
    expect(decode(chunk, { cf: 'lock', after: undefined })).to.have.length(2);
    for (const place of [
      behind('lock', 'm'),
      behind('lock', 'mm'),
      behind('lock', 'n'),
      behind('write', ''),
    ]) {
      corruption(() => decode(chunk, place));
    }
  });

  it('are refused with a key outside the region', () => {
    const chunk = encode(pair('default', 'b', ''), pair('default', 'c', ''), pair('lock', 'bb', ''));
    const check = (start: string, end: string) => () =>
      checkChunk(chunk, undefined, 'test', { start: bytes(start), end: bytes(end) });
    expect(check('b', 'd')()).to.deep.equal({ cf: 'lock', after: bytes('bb') });
    expect(check('', 'cc')()).to.deep.equal({ cf: 'lock', after: bytes('bb') });
    expect(corruption(check('b', 'c'))).to.include('the key "c" is not of this region');
    expect(corruption(check('ba', 'd'))).to.include('the key "b" is not of this region');
    const late = encode(pair('default', 'b', ''), pair('lock', 'a', ''), pair('write', 'b', ''));
    expect(
      corruption(() => checkChunk(late, undefined, 'test', { start: bytes('b'), end: bytes('c') })),
    ).to.include('"a"');
  });
});
