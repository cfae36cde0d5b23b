/** Many keys sought at once share a scan where they stand close together, and come to the same as one by one. */
import { expect } from 'chai';
import fc from 'fast-check';
import { type CommittedWrite, readPoints, type Timestamp, txnKey } from '../../../storage/index.js';
import { bytes, describeOnEngines, type MvccWorld, type Row, writeOf } from './mvcc-world.js';

const nameOf = (n: number): Uint8Array => bytes(n >> 8, n & 0xff);

/** Commit timestamps of a key, ascending: none for some, many for others. */
function versionsOf(n: number): Timestamp[] {
  const count = n % 5 === 0 ? 0 : n % 97 === 1 ? 60 : 1 + (n % 3);
  return Array.from({ length: count }, (_, i) => BigInt(10 * (i + 1)));
}

function rowsOf(keys: number): Row[] {
  return Array.from({ length: keys }, (_, n) => n).flatMap((n) =>
    versionsOf(n).map((ts): Row => {
      const write = writeOf('put', ts - 1n, { shortValue: bytes(n & 0xff, Number(ts & 0xffn)) });
      return { cf: 'write', key: nameOf(n), ts, write };
    }),
  );
}

/** What a search is given that wants `count` records. */
async function seek(world: MvccWorld, wanted: readonly { n: number; from: Timestamp; count: number }[]) {
  const found = wanted.map((): Timestamp[] => []);
  await world.read((reader) =>
    reader.seekWrites(
      wanted.map(({ n, from, count }, i) => ({
        stored: txnKey(nameOf(n)),
        from,
        take: (write: CommittedWrite) => (found[i]?.push(write.commitTs) ?? 0) >= count,
      })),
    ),
  );
  return found;
}

describeOnEngines('Reader of transactions', (world) => {
  beforeEach(() => world().init(rowsOf(2000)));

  const query = (largest: number) =>
    fc.record({ n: fc.nat(largest), from: fc.nat(620).map(BigInt), count: fc.integer({ min: 1, max: 70 }) });
  /** Close together, far apart, and both; the same key more than once. */
  const queries = fc
    .tuple(fc.array(query(40), { maxLength: 80 }), fc.array(query(2100), { maxLength: 40 }))
    .map(([close, apart]) => [...close, ...apart]);

  it('gives each search its records, newest first, and no more', async () => {
    await fc.assert(
      fc.asyncProperty(queries, async (wanted) => {
        const expected = wanted.map(({ n, from, count }) =>
          (n < 2000 ? versionsOf(n) : [])
            .filter((ts) => ts <= from)
            .reverse()
            .slice(0, count),
        );
        expect(await seek(world(), wanted)).to.deep.equal(expected);
      }),
      { seed: 11, numRuns: 60 },
    );
  });

  it('reads a thousand neighbours in one batch', async () => {
    const reads = Array.from({ length: 1000 }, (_, n) => ({ key: nameOf(n + 500), ts: 15n }));
    const results = await world().read((reader) => readPoints(reads, reader));
    expect(results).to.deep.equal(
      reads.map((_, i) => ({ value: (i + 500) % 5 === 0 ? undefined : bytes((i + 500) & 0xff, 10) })),
    );
  });
});
