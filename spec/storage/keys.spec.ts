import { expect } from 'chai';
import fc from 'fast-check';
import {
  compareBytes,
  decodeBytes,
  encodeBytes,
  escapeKey,
  isVersionOf,
  keyAfter,
  prefixEnd,
  rawKey,
  rawRange,
  StorageError,
  timestampOf,
  txnKey,
  txnKeysWithin,
  unescapeKey,
  userKey,
  withoutTimestamp,
  withTimestamp,
} from '../../storage/index.js';

const anyKey = fc.uint8Array({ minLength: 1, maxLength: 40 });
/** Keys that differ late, hold zeros, and end at the borders of groups. */
const trickyKey = fc.oneof(
  anyKey,
  fc.uint8Array({ minLength: 1, maxLength: 17, max: 1 }),
  fc.uint8Array({ minLength: 1, maxLength: 17, min: 254 }),
);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const sign = (n: number): number => Math.sign(n);

describe('Stored keys', () => {
  it("encodes as TiKV's codec does", () => {
    for (const [key, encoded] of [
      ['', '0000000000000000f7'],
      ['00', '0000000000000000f8'],
      ['010203', '0102030000000000fa'],
      ['01020300', '0102030000000000fb'],
      ['01020304050607', '0102030405060700fe'],
      ['0000000000000000', '0000000000000000ff0000000000000000f7'],
      ['0102030405060708', '0102030405060708ff0000000000000000f7'],
      ['010203040506070809', '0102030405060708ff0900000000000000f8'],
    ]) {
      expect(hex(encodeBytes(Buffer.from(key as string, 'hex')))).to.equal(encoded);
      expect(hex(decodeBytes(Buffer.from(encoded as string, 'hex')).bytes)).to.equal(key);
    }
  });

  it('keeps the order of keys, and no encoding is a prefix of another', () => {
    fc.assert(
      fc.property(trickyKey, trickyKey, (a, b) => {
        expect(sign(compareBytes(encodeBytes(a), encodeBytes(b)))).to.equal(sign(compareBytes(a, b)));
        if (compareBytes(a, b) !== 0)
          expect(hex(encodeBytes(b)).startsWith(hex(encodeBytes(a)))).to.equal(false);
        expect(sign(compareBytes(rawKey(a), rawKey(b)))).to.equal(sign(compareBytes(a, b)));
        expect(sign(compareBytes(txnKey(a), txnKey(b)))).to.equal(sign(compareBytes(a, b)));
        expect(compareBytes(rawKey(a), txnKey(b))).to.be.below(0);
        expect(sign(compareBytes(a, b))).to.equal(sign(Buffer.compare(a, b)));
      }),
    );
  });

  it('sorts the versions of a key newest first, all before the next key', () => {
    const timestamp = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    fc.assert(
      fc.property(trickyKey, trickyKey, timestamp, timestamp, (a, b, t, u) => {
        const [low, high] = t < u ? [t, u] : [u, t];
        const newer = withTimestamp(txnKey(a), high);
        const older = withTimestamp(txnKey(a), low);
        expect(compareBytes(newer, older)).to.be.at.most(0);
        expect(timestampOf(newer)).to.equal(high);
        const order = sign(compareBytes(a, b));
        if (order !== 0) expect(sign(compareBytes(older, withTimestamp(txnKey(b), t)))).to.equal(order);
      }),
    );
  });

  it('gives user keys back, with their space, without their timestamp', () => {
    fc.assert(
      fc.property(trickyKey, (key) => {
        expect(userKey(rawKey(key))).to.deep.equal({ space: 'raw', key: Uint8Array.from(key) });
        const { space, key: back } = userKey(withTimestamp(txnKey(key), 5n));
        expect([space, hex(back)]).to.deep.equal(['txn', hex(key)]);
      }),
    );
  });

  it('takes the timestamp off a transactional key, and leaves any other as it is', () => {
    fc.assert(
      fc.property(trickyKey, fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (key, t) => {
        for (const stored of [txnKey(key), withTimestamp(txnKey(key), t)]) {
          expect(withoutTimestamp(stored)).to.deep.equal(Uint8Array.from(txnKey(key)));
        }
        expect(withoutTimestamp(rawKey(key))).to.deep.equal(Uint8Array.from(rawKey(key)));
      }),
    );
    fc.assert(
      fc.property(trickyKey, trickyKey, (a, b) => {
        const same = compareBytes(a, b) === 0;
        expect(isVersionOf(withTimestamp(txnKey(a), 7n), txnKey(b))).to.equal(same);
        expect(isVersionOf(txnKey(a), txnKey(b))).to.equal(same);
        expect(isVersionOf(rawKey(a), rawKey(b))).to.equal(same);
        expect(isVersionOf(rawKey(Buffer.concat([a, b])), rawKey(a))).to.equal(false);
      }),
    );
    for (const bad of ['78', '7861', '78000000000000000000', '78010000000000000001'])
      expect(withoutTimestamp(Buffer.from(bad, 'hex')), bad).to.equal(undefined);
  });

  it('refuses what is no encoding', () => {
    for (const bad of [
      '',
      '00',
      '0102030000000000',
      '0102030000000000f6',
      '0102030000000000f9',
      '0102030405060708ff',
    ]) {
      expect(() => decodeBytes(Buffer.from(bad, 'hex')), bad).to.throw(StorageError);
    }
    expect(() => userKey(Buffer.from('q'))).to.throw(StorageError, /is not a stored key/);
    expect(() => userKey(Buffer.from('r'))).to.throw(StorageError);
  });

  it('takes keys of 1 to 4096 bytes', () => {
    for (const encode of [rawKey, txnKey]) {
      expect(() => encode(new Uint8Array(0))).to.throw(StorageError, /empty key is not allowed.*1 to 4096/);
      expect(() => encode(new Uint8Array(4097))).to.throw(StorageError, /4097 bytes is too long.*1 to 4096/);
      encode(new Uint8Array(1));
      encode(new Uint8Array(4096));
    }
  });

  it('prints keys and reads them back', () => {
    expect(escapeKey(Buffer.from('a b~\\\x7f\x00\xe9', 'latin1'))).to.equal('a b~\\x5c\\x7f\\x00\\xe9');
    expect(hex(unescapeKey('é\\x00'))).to.equal('c3a900');
    for (const bad of ['\\', '\\x', '\\x1', '\\n', '\\xg0'])
      expect(() => unescapeKey(bad), bad).to.throw(StorageError);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 30 }), (key) => {
        expect(escapeKey(key)).to.match(/^[\x20-\x7e]*$/);
        expect(hex(unescapeKey(escapeKey(key)))).to.equal(hex(key));
      }),
    );
  });

  it('finds the bounds of prefixes and spaces', () => {
    expect(hex(prefixEnd(Buffer.from('61ff', 'hex')) as Uint8Array)).to.equal('62');
    expect(prefixEnd(Uint8Array.of(255, 255))).to.equal(undefined);
    expect(prefixEnd(Uint8Array.of())).to.equal(undefined);
    expect(hex(keyAfter(Uint8Array.of(1)))).to.equal('0100');
    expect(rawRange()).to.deep.equal({ start: Uint8Array.of(0x72), end: Uint8Array.of(0x73) });
    const prefix = Buffer.from('ab');
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 4 }),
        fc.uint8Array({ maxLength: 4 }),
        (p, rest) => {
          const end = prefixEnd(p);
          const key = Buffer.concat([p, rest]);
          if (end) expect(compareBytes(key, end)).to.be.below(0);
          if (end) expect(compareBytes(end, p)).to.be.above(0);
        },
      ),
    );
    prefixEnd(prefix);
    expect(prefix.toString()).to.equal('ab');
  });
});

describe('The transactional keys of a region', () => {
  const bytes = (text: string) => new Uint8Array(Buffer.from(text));
  const stored = (key: string) => txnKey(bytes(key));
  const rows: readonly [string, Uint8Array, Uint8Array, [string, string] | undefined][] = [
    ['of all keys', bytes(''), bytes(''), ['', '']],
    ['of raw keys alone', bytes('ra'), bytes('rb'), undefined],
    ['up to the space', bytes('r'), bytes('x'), undefined],
    ['of the space', bytes('x'), bytes('y'), ['', '']],
    ['behind the space', bytes('y'), bytes(''), undefined],
    ['across its beginning', bytes('ra'), stored('m'), ['', 'm']],
    ['inside', stored('a'), stored('m'), ['a', 'm']],
    ['across its end', stored('m'), bytes('z'), ['m', '']],
  ];
  for (const [what, startKey, endKey, range] of rows) {
    it(what, () => {
      const found = txnKeysWithin({ startKey, endKey });
      expect(found && [found.start, found.end].map((key) => Buffer.from(key).toString())).to.deep.equal(
        range,
      );
    });
  }
});
