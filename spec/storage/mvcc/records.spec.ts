/** The bytes of locks and write records: TiKV's, and nothing that is not understood. */
import { expect } from 'chai';
import fc from 'fast-check';
import {
  decodeLock,
  decodeWrite,
  encodeLock,
  encodeWrite,
  type Lock,
  StorageError,
  type Write,
} from '../../../storage/index.js';
import { bytes, lockOf, text, writeOf } from './mvcc-world.js';

const hex = (value: Uint8Array): string => Buffer.from(value).toString('hex');
const timestamp = fc.bigInt({ min: 1n, max: 2n ** 64n - 1n });
const shortBytes = fc.uint8Array({ maxLength: 255 });
const key = fc.uint8Array({ minLength: 1, maxLength: 40 });

const locks: fc.Arbitrary<Lock> = fc
  .record({
    kind: fc.constantFrom('put', 'delete', 'lock', 'pessimistic'),
    primary: key,
    startTs: timestamp,
    ttl: fc.maxSafeNat(),
    shortValue: fc.option(shortBytes, { nil: undefined }),
    txnSize: fc.maxSafeNat(),
    minCommitTs: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
    useAsyncCommit: fc.boolean(),
    secondaries: fc.array(key, { maxLength: 5 }),
    rollbackTs: fc.array(timestamp, { maxLength: 5 }),
  })
  .map((lock) => ({
    ...lock,
    shortValue: lock.kind === 'put' ? lock.shortValue : undefined,
    secondaries: lock.useAsyncCommit ? lock.secondaries : [],
  }));

const writes: fc.Arbitrary<Write> = fc
  .record({
    kind: fc.constantFrom('put', 'delete', 'lock', 'rollback'),
    startTs: timestamp,
    shortValue: fc.option(shortBytes, { nil: undefined }),
    hasOverlappedRollback: fc.boolean(),
    isProtected: fc.boolean(),
  })
  .map((write) => ({
    ...write,
    shortValue: write.kind === 'put' ? write.shortValue : undefined,
    hasOverlappedRollback: write.kind !== 'rollback' && write.hasOverlappedRollback,
    isProtected: write.kind === 'rollback' && write.isProtected,
  }));

function codeOf(decode: () => unknown): string {
  try {
    decode();
  } catch (error) {
    if (error instanceof StorageError) return error.code;
    throw error;
  }
  return 'none';
}

/** Views and arrays of their own are the same. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return hex(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plain(field)]));
}

describe('Records of transactions', () => {
  it('lock: the bytes are those of TiKV', () => {
    const lock = lockOf({
      primary: text('pk'),
      startTs: 300n,
      ttl: 3000,
      shortValue: text('v'),
      txnSize: 2,
      minCommitTs: 301n,
      useAsyncCommit: true,
      secondaries: [text('s')],
      rollbackTs: [302n],
    });
    expect(hex(encodeLock(lock))).to.equal(
      [
        '50', // P
        '04706b', // its length, doubled as TiKV's signed numbers are
        'ac02', // 300
        'b817', // 3000
        '760176', // v
        '740000000000000002', // t
        '63000000000000012d', // c
        '61010273', // a
        '7201000000000000012e', // r
      ].join(''),
    );
    expect(hex(encodeLock(lockOf({ kind: 'delete', primary: bytes(1), startTs: 1n })))).to.equal(
      '4402010100',
    );
  });

  it('write record: the bytes are those of TiKV', () => {
    expect(hex(encodeWrite(writeOf('put', 5n, { shortValue: text('ab') })))).to.equal('500576026162');
    expect(hex(encodeWrite(writeOf('put', 5n, { shortValue: bytes() })))).to.equal('50057600');
    expect(hex(encodeWrite(writeOf('delete', 128n, { hasOverlappedRollback: true })))).to.equal('44800152');
    expect(hex(encodeWrite(writeOf('rollback', 7n, { isProtected: true })))).to.equal('5207760170');
    expect(hex(encodeWrite(writeOf('lock', 2n ** 64n - 1n)))).to.equal('4cffffffffffffffffff01');
  });

  it('lock: what is written is read', () => {
    fc.assert(
      fc.property(locks, (lock) => {
        expect(plain(decodeLock(encodeLock(lock)))).to.deep.equal(plain(lock));
      }),
      { seed: 1, numRuns: 500 },
    );
  });

  it('write record: what is written is read', () => {
    fc.assert(
      fc.property(writes, (write) => {
        expect(plain(decodeWrite(encodeWrite(write)))).to.deep.equal(plain(write));
      }),
      { seed: 2, numRuns: 500 },
    );
  });

  it('what is cut off is damage, wherever it is cut', () => {
    const lock = encodeLock(
      lockOf({
        primary: text('primary'),
        startTs: 1n << 60n,
        ttl: 3000,
        shortValue: text('value'),
        minCommitTs: 5n,
      }),
    );
    const write = encodeWrite(writeOf('put', 1n << 60n, { shortValue: text('value') }));
    // A record may end before a field that need not be there.
    const whole = [hex(lock).indexOf('76'), hex(lock).lastIndexOf('63'), hex(write).indexOf('76')].map(
      (at) => at / 2,
    );
    for (let end = 0; end < lock.length; end++) {
      const code = codeOf(() => decodeLock(lock.subarray(0, end)));
      if (code === 'none') expect(whole).to.include(end);
      else expect(code).to.equal('corruption');
    }
    for (let end = 0; end < write.length; end++) {
      const code = codeOf(() => decodeWrite(write.subarray(0, end)));
      if (code === 'none') expect(whole).to.include(end);
      else expect(code).to.equal('corruption');
    }
  });

  it('arbitrary bytes are read or refused, never more', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 60 }),
        fc.constantFrom(0x50, 0x44, 0x4c, 0x52, 0x53),
        (noise, kind) => {
          const record = Uint8Array.of(kind, ...noise);
          for (const decode of [decodeLock, decodeWrite]) {
            expect(['none', 'corruption', 'format']).to.include(codeOf(() => decode(record)));
          }
        },
      ),
      { seed: 3, numRuns: 3000 },
    );
  });

  it('an unknown flag is of a newer version, and is not skipped', () => {
    const lock = encodeLock(lockOf({ primary: text('p'), startTs: 1n }));
    // TiKV's letters that have no meaning here, and one that has none there.
    for (const letter of 'flsFghT?') {
      expect(
        codeOf(() => decodeLock(Buffer.concat([lock, text(letter)]))),
        letter,
      ).to.equal('format');
    }
    const write = encodeWrite(writeOf('put', 1n));
    for (const letter of 'FlS?') {
      expect(
        codeOf(() => decodeWrite(Buffer.concat([write, text(letter)]))),
        letter,
      ).to.equal('format');
    }
  });

  it('what contradicts itself is damage', () => {
    const cases: [string, () => unknown][] = [
      ['no kind', () => decodeLock(text('X'))],
      ['lock without a primary', () => decodeLock(Uint8Array.of(0x50, 0, 1, 0))],
      ['lock that began at 0', () => decodeLock(Uint8Array.of(0x50, 2, 1, 0, 0))],
      ['delete with a value', () => decodeLock(Uint8Array.of(0x44, 2, 1, 1, 0, 0x76, 0))],
      ['negative length', () => decodeLock(Uint8Array.of(0x50, 3, 1, 1, 0))],
      ['more secondaries than bytes', () => decodeLock(Uint8Array.of(0x50, 2, 1, 1, 0, 0x61, 0x7f))],
      ['timestamp beyond 64 bits', () => decodeWrite(Uint8Array.of(0x50, ...new Array(9).fill(0xff), 2))],
      ['write record that began at 0', () => decodeWrite(Uint8Array.of(0x50, 0))],
      ['rollback with a value', () => decodeWrite(Uint8Array.of(0x52, 1, 0x76, 1, 0x71))],
      ['rollback upon a rollback', () => decodeWrite(Uint8Array.of(0x52, 1, 0x52))],
      ['delete record with a value', () => decodeWrite(Uint8Array.of(0x44, 1, 0x76, 0))],
    ];
    for (const [what, decode] of cases) expect(codeOf(decode), what).to.equal('corruption');
  });
});
