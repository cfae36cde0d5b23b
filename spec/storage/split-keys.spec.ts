import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import {
  approximateRegionSize,
  type ColumnFamily,
  compareBytes,
  type Engine,
  escapeKey,
  findMiddleKey,
  findSplitKeys,
  type KeyRange,
  openRocksEngine,
  rawKey,
  type ScanOptions,
  SNAPSHOT_FAMILIES,
  type SplitFindings,
  type SplitLimits,
  txnKey,
  userKey,
  withTimestamp,
} from '../../storage/index.js';
import { ForwardingEngine } from '../simulation/disk-record.js';
import { bytes, fill, memory, noPause, type Pair, pair } from './region-data.js';
import { seeded } from './seeded.js';

const NO_LIMIT = 1e9;
const byBytes = (splitBytes: number, maxBytes: number, maxParts = 100): SplitLimits => ({
  splitBytes,
  maxBytes,
  splitKeys: NO_LIMIT,
  maxKeys: NO_LIMIT,
  maxParts,
});
const byKeys = (splitKeys: number, maxKeys: number): SplitLimits => ({
  splitBytes: NO_LIMIT,
  maxBytes: NO_LIMIT,
  splitKeys,
  maxKeys,
  maxParts: 100,
});

const seen = async <T>(
  engine: Engine,
  look: (view: ReturnType<Engine['snapshot']>) => Promise<T>,
): Promise<T> => {
  const view = engine.snapshot();
  try {
    return await look(view);
  } finally {
    view.release();
  }
};
const find = (engine: Engine, limits: SplitLimits, within: KeyRange = {}): Promise<SplitFindings> =>
  seen(engine, (view) => findSplitKeys(engine, view, within, limits, noPause));
const middle = (engine: Engine, within: KeyRange = {}): Promise<Uint8Array | undefined> =>
  seen(engine, (view) => findMiddleKey(engine, view, within, noPause));
const shown = (keys: readonly Uint8Array[]): string[] => keys.map(escapeKey);

/** All pairs of one user key, which belong together. */
interface Group {
  readonly key: Uint8Array;
  bytes: number;
  count: number;
}

/** Everything in the range, by user key, in order; by the plainest means. */
async function groupsOf(engine: Engine, { start, end }: KeyRange): Promise<Group[]> {
  const groups = new Map<string, Group>();
  for (const cf of SNAPSHOT_FAMILIES) {
    const { keys, values } = await engine.scan(cf, { limit: 1_000_000 });
    for (const [i, stored] of keys.entries()) {
      if (start && compareBytes(stored, start) < 0) continue;
      if (end?.length && compareBytes(stored, end) >= 0) continue;
      const { space, key } = userKey(stored);
      const whole = space === 'raw' ? rawKey(key) : txnKey(key);
      const group = groups.get(escapeKey(whole)) ?? { key: whole, bytes: 0, count: 0 };
      group.bytes += stored.length + (values[i] as Uint8Array).length;
      group.count++;
      groups.set(escapeKey(whole), group);
    }
  }
  return [...groups.values()].sort((a, b) => compareBytes(a.key, b.key));
}

const sum = (groups: readonly Group[], of: 'bytes' | 'count'): number =>
  groups.reduce((total, group) => total + group[of], 0);

/** The rule, once more: parts as lists of groups. */
function expectedKeys(groups: readonly Group[], start: Uint8Array, limits: SplitLimits): Uint8Array[] {
  const { splitBytes, maxBytes, splitKeys, maxKeys, maxParts } = limits;
  if (sum(groups, 'bytes') <= maxBytes && sum(groups, 'count') <= maxKeys) return [];
  const parts: Group[][] = [[]];
  for (const group of groups) {
    const part = parts.at(-1) as Group[];
    const grown = [...part, group];
    const full = sum(grown, 'bytes') > splitBytes || sum(grown, 'count') > splitKeys;
    const inside = compareBytes(group.key, start) > 0;
    if (full && part.length > 0 && inside && parts.length <= maxParts) parts.push([group]);
    else part.push(group);
  }
  const keys = parts.slice(1).map((part) => (part[0] as Group).key);
  const [before = [], last = []] = parts.slice(-2);
  const few = (of: 'bytes' | 'count', split: number, max: number) =>
    sum(last, of) < max - split || sum([...before, ...last], of) <= split;
  if (few('bytes', splitBytes, maxBytes) && few('count', splitKeys, maxKeys)) keys.pop();
  return keys;
}

const userBytes = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 4, max: 1 }),
  fc.uint8Array({ minLength: 1, maxLength: 4, min: 254 }),
  fc.uint8Array({ minLength: 1, maxLength: 3, min: 0x61, max: 0x63 }),
  fc.uint8Array({ minLength: 7, maxLength: 10, min: 0xff }),
  fc.uint8Array({ minLength: 7, maxLength: 10, max: 0 }),
);
const stored = fc.oneof(
  userBytes.map((key) => rawKey(key)),
  userBytes.map((key) => txnKey(key)),
  fc
    .record({ key: userBytes, t: fc.bigInt({ min: 0n, max: 5n }) })
    .map(({ key, t }) => withTimestamp(txnKey(key), t)),
);
const anyPairs: fc.Arbitrary<Pair[]> = fc.array(
  fc.record({
    cf: fc.constantFrom<ColumnFamily>('default', 'lock', 'write'),
    key: stored,
    value: fc.oneof(
      { weight: 10, arbitrary: fc.uint8Array({ maxLength: 30 }) },
      { weight: 1, arbitrary: fc.constant(new Uint8Array(500)) },
    ),
  }),
  { maxLength: 60 },
);
/** As regions have them: on whole keys. */
const bound = fc.oneof(
  fc.constant(new Uint8Array(0)),
  userBytes.map((key) => rawKey(key)),
  userBytes.map((key) => txnKey(key)),
);
const anyLimits: fc.Arbitrary<SplitLimits> = fc
  .record({
    splitBytes: fc.integer({ min: 1, max: 700 }),
    moreBytes: fc.integer({ min: 0, max: 500 }),
    splitKeys: fc.integer({ min: 1, max: 30 }),
    moreKeys: fc.integer({ min: 0, max: 30 }),
    maxParts: fc.integer({ min: 1, max: 8 }),
  })
  .map(({ splitBytes, moreBytes, splitKeys, moreKeys, maxParts }) => ({
    splitBytes,
    maxBytes: splitBytes + moreBytes,
    splitKeys,
    maxKeys: splitKeys + moreKeys,
    maxParts,
  }));

class ScannedEngine extends ForwardingEngine {
  readonly scans: ScanOptions[] = [];

  override scan(...call: Parameters<Engine['scan']>) {
    this.scans.push(call[1]);
    return this.inner.scan(...call);
  }
}

/** Pairs of ten bytes each: `r0000` and on. */
const tens = (count: number): Pair[] =>
  Array.from({ length: count }, (_, i) => pair('default', `r${String(i).padStart(4, '0')}`, '12345'));

describe('Split keys', () => {
  let path: string;
  let rocks: Engine;
  let simulated: Engine;

  before(async () => {
    path = await mkdtemp(join(tmpdir(), 'troupe-split-'));
    rocks = await openRocksEngine({ path, writeBuffers: { default: 256 << 10 } });
  });

  beforeEach(async () => {
    simulated = await memory();
  });

  afterEach(async () => {
    await simulated.close();
    await clear(rocks);
  });

  after(async () => {
    await rocks.close();
    await rm(path, { recursive: true, force: true });
  });

  async function clear(engine: Engine): Promise<void> {
    const batch = engine.batch();
    for (const cf of SNAPSHOT_FAMILIES) batch.deleteRange(cf, bytes('\0'), Uint8Array.of(255));
    await engine.write(batch);
  }

  it('are none in a region of at most the largest size, whatever it is made of', async () => {
    expect(await find(simulated, byBytes(10, 20))).to.deep.equal({ keys: [], bytes: 0, count: 0 });
    await fill(simulated, tens(15));
    expect(await find(simulated, byBytes(100, 150))).to.deep.equal({ keys: [], bytes: 150, count: 15 });
    expect(await find(simulated, byKeys(10, 15))).to.deep.equal({ keys: [], bytes: 150, count: 15 });
  });

  it('cut off parts of the size of a split, and leave a last part of up to the largest size', async () => {
    const keysOf = async (count: number, limits: SplitLimits) => {
      const engine = await memory();
      await fill(engine, tens(count));
      return shown((await find(engine, limits)).keys);
    };
    for (const limits of [byBytes(100, 150), byKeys(10, 15)]) {
      expect(await keysOf(16, limits)).to.deep.equal(['r0010']);
      // Four more behind the second cut are too few for a part of their own, five are enough.
      expect(await keysOf(24, limits)).to.deep.equal(['r0010']);
      expect(await keysOf(25, limits)).to.deep.equal(['r0010', 'r0020']);
      expect(await keysOf(34, limits)).to.deep.equal(['r0010', 'r0020']);
      expect(await keysOf(35, limits)).to.deep.equal(['r0010', 'r0020', 'r0030']);
    }
    expect(await keysOf(100, byBytes(100, 150, 3))).to.deep.equal(['r0010', 'r0020', 'r0030']);
    expect(await keysOf(20, byBytes(105, 150))).to.deep.equal(['r0010']);
  });

  it('end a part before the key that is too much for it', async () => {
    const value = new Uint8Array(1000);
    await fill(simulated, [...tens(5), pair('default', 'r0005', value), pair('default', 'r0006', value)]);
    expect(shown((await find(simulated, byBytes(100, 150))).keys)).to.deep.equal(['r0005', 'r0006']);
  });

  it('cannot be found in one giant value, and are found around one', async () => {
    const giant = pair('default', 'r0005', new Uint8Array(3 << 20));
    await fill(simulated, [giant]);
    const alone = await find(simulated, byBytes(100, 150));
    expect(alone).to.deep.equal({ keys: [], bytes: (3 << 20) + 5, count: 1 });
    expect(await middle(simulated)).to.equal(undefined);
    await fill(simulated, [...tens(5), giant]);
    expect(shown((await find(simulated, byBytes(100, 150))).keys)).to.deep.equal(['r0005']);
    await fill(simulated, [...tens(10), giant]);
    // What is behind it is too little for a part.
    expect(shown((await find(simulated, byBytes(100, 150))).keys)).to.deep.equal(['r0005']);
    await fill(simulated, [...tens(12), giant]);
    expect(shown((await find(simulated, byBytes(100, 150))).keys)).to.deep.equal(['r0005', 'r0006']);
    expect(escapeKey((await middle(simulated)) as Uint8Array)).to.be.oneOf(['r0005', 'r0006']);
  });

  it('are told from their neighbours by the last byte of a long common prefix', async () => {
    const prefix = `r${'p'.repeat(2000)}`;
    const data = Array.from({ length: 20 }, (_, i) =>
      pair('write', `${prefix}${String.fromCharCode(97 + i)}`, ''),
    );
    await fill(rocks, data);
    const { keys } = await find(rocks, byBytes(2002 * 10, 2002 * 15));
    expect(shown(keys)).to.deep.equal([`${prefix}k`]);
  });

  it('never tear the versions of a transactional key apart', async () => {
    const data: Pair[] = [];
    for (const key of ['a', 'b', 'c', 'longer than a group']) {
      const encoded = txnKey(bytes(key));
      data.push({ cf: 'lock', key: encoded, value: bytes('lock') });
      for (let t = 1n; t <= 40n; t++) {
        data.push({ cf: 'write', key: withTimestamp(encoded, t), value: bytes('short') });
        data.push({ cf: 'default', key: withTimestamp(encoded, t), value: new Uint8Array(50) });
      }
    }
    await fill(rocks, data);
    const { keys, count } = await find(rocks, byBytes(100, 150));
    expect(count).to.equal(4 * 81);
    expect(shown(keys)).to.deep.equal(
      shown(['b', 'c', 'longer than a group'].map((key) => txnKey(bytes(key)))),
    );
    await clear(rocks);
    await fill(
      rocks,
      data.filter(({ key }) => compareBytes(key, txnKey(bytes('b'))) < 0),
    );
    expect((await find(rocks, byBytes(100, 150))).keys).to.deep.equal([]);
    expect(await middle(rocks)).to.equal(undefined);
  });

  it('never fall on what is no key of the transactional space', async () => {
    await fill(simulated, [
      ...['a', 'b'].map((key): Pair => ({ cf: 'write', key: txnKey(bytes(key)), value: bytes('0') })),
      ...['xa', 'xab', 'xb'].map((key) => pair('write', key, '0')),
    ]);
    const { keys, count } = await find(simulated, byKeys(1, 1));
    expect(count).to.equal(5);
    expect(shown(keys)).to.deep.equal([escapeKey(txnKey(bytes('a'))), escapeKey(txnKey(bytes('b')))]);
  });

  it('are what a plain reading of the rule gives, on both engines', async () => {
    await fc.assert(
      fc.asyncProperty(anyPairs, bound, bound, anyLimits, async (data, start, end, limits) => {
        for (const engine of [rocks, await memory()]) {
          await clear(engine);
          await fill(engine, data);
          const within = { start, end };
          const groups = await groupsOf(engine, within);
          const { keys, bytes: found, count } = await find(engine, limits, within);
          expect(shown(keys)).to.deep.equal(shown(expectedKeys(groups, start, limits)));
          expect([found, count]).to.deep.equal([sum(groups, 'bytes'), sum(groups, 'count')]);
          const bounds = [start, ...keys, ...(end.length > 0 && keys.length > 0 ? [end] : [])];
          for (const [i, key] of bounds.slice(1).entries()) {
            expect(compareBytes(key, bounds[i] as Uint8Array)).to.be.above(0);
          }
          expect(keys.length).to.be.at.most(limits.maxParts);
        }
      }),
      { numRuns: 150, seed: 11 },
    );
  });

  it('leave no part above the largest size, other than of a single key', async () => {
    await fc.assert(
      fc.asyncProperty(anyPairs, anyLimits, async (data, limits) => {
        const engine = await memory();
        await fill(engine, data);
        const groups = await groupsOf(engine, {});
        const { keys } = await find(engine, { ...limits, maxParts: 1000 });
        const largest = Math.max(0, ...groups.map((group) => group.bytes));
        for (const [i, from] of [new Uint8Array(0), ...keys].entries()) {
          const part = await groupsOf(engine, { start: from, end: keys[i] ?? new Uint8Array(0) });
          expect(sum(part, 'bytes')).to.be.at.most(limits.maxBytes + largest);
        }
      }),
      { numRuns: 100, seed: 12 },
    );
  });

  it('are found with reads of at most 256 keys or 64 KiB, a pause after each, and nothing when one throws', async () => {
    const random = seeded(1);
    const small = Array.from({ length: 3000 }, (_, i) => pair('default', `r${10_000 + i}`, 'v'));
    const large = Array.from({ length: 20 }, (_, i) =>
      pair('lock', `r1${i}`, new Uint8Array(random() * 200_000)),
    );
    await fill(simulated, [...small, ...large]);
    const engine = new ScannedEngine(simulated);
    let pauses = 0;
    const pause = async () => {
      pauses++;
    };
    const { count } = await seen(engine, (view) => findSplitKeys(engine, view, {}, byBytes(100, 150), pause));
    expect(count).to.equal(3020);
    for (const { limit, maxBytes } of engine.scans) {
      expect(limit).to.be.at.most(256);
      expect(maxBytes).to.equal(64 * 1024);
    }
    expect(engine.scans.length).to.be.below(60);
    expect(pauses).to.equal(engine.scans.length);
    const thrown = new Error('no longer wanted');
    const stopping = async () => {
      if (--pauses === 20) throw thrown;
    };
    const outcome = seen(engine, (view) => findSplitKeys(engine, view, {}, byBytes(100, 150), stopping));
    expect(await outcome.catch((error: unknown) => error)).to.equal(thrown);
  });

  it('are those of the moment of the view', async () => {
    await fill(simulated, tens(16));
    const view = simulated.snapshot();
    await fill(simulated, tens(500));
    const { keys, count } = await findSplitKeys(simulated, view, {}, byBytes(100, 150), noPause);
    view.release();
    expect(count).to.equal(16);
    expect(shown(keys)).to.deep.equal(['r0010']);
  });
});

describe('The middle key of a region', () => {
  let engine: Engine;

  beforeEach(async () => {
    engine = await memory();
  });

  it('has half of the bytes before it', async () => {
    await fill(engine, tens(4));
    expect(escapeKey((await middle(engine)) as Uint8Array)).to.equal('r0002');
    await fill(engine, tens(5));
    expect(escapeKey((await middle(engine)) as Uint8Array)).to.equal('r0002');
    await fill(engine, [pair('write', 'r0004', 'x'.repeat(100))]);
    expect(escapeKey((await middle(engine)) as Uint8Array)).to.equal('r0004');
  });

  it('is none where there is nothing to split', async () => {
    expect(await middle(engine)).to.equal(undefined);
    await fill(engine, [pair('default', 'ra', '1'), pair('write', 'ra', '1')]);
    expect(await middle(engine)).to.equal(undefined);
    await fill(engine, [pair('default', 'rb', '1')]);
    expect(await middle(engine, { start: bytes('rb') })).to.equal(undefined);
    expect(escapeKey((await middle(engine, { start: bytes('ra') })) as Uint8Array)).to.equal('rb');
  });

  it('is as near to the half as a key can be, or a 512th of the region further', async () => {
    await fc.assert(
      fc.asyncProperty(anyPairs, bound, bound, async (data, start, end) => {
        const one = await memory();
        await fill(one, data);
        const groups = await groupsOf(one, { start, end });
        const inside = groups.slice(1).filter(({ key }) => compareBytes(key, start) > 0);
        const total = sum(groups, 'bytes');
        const off = (key: Uint8Array) =>
          Math.abs(
            2 *
              sum(
                groups.filter((group) => compareBytes(group.key, key) < 0),
                'bytes',
              ) -
              total,
          );
        const found = await middle(one, { start, end });
        if (inside.length === 0) expect(found).to.equal(undefined);
        else expect(off(found as Uint8Array)).to.equal(Math.min(...inside.map(({ key }) => off(key))));
      }),
      { numRuns: 100, seed: 13 },
    );
    const random = seeded(2);
    for (let count = 1_500; count < 6_000; count += 171) {
      const other = await memory();
      const sizes = Array.from({ length: count }, () => Math.floor(random() ** 8 * 200));
      await fill(
        other,
        sizes.map((size, i) => pair('default', `r${10_000 + i}`, new Uint8Array(size))),
      );
      const key = Number(escapeKey((await middle(other)) as Uint8Array).slice(1)) - 10_000;
      const bytesOf = (part: readonly number[]) => part.reduce((all, size) => all + size + 6, 0);
      const off = Math.abs(bytesOf(sizes.slice(0, key)) - bytesOf(sizes) / 2);
      expect(off).to.be.below(bytesOf(sizes) / 512 + 206);
    }
  });

  it('lies inside a region that begins between two versions of a key, as none should', async () => {
    const [a, b] = [txnKey(bytes('a')), txnKey(bytes('b'))];
    await fill(engine, [
      ...[1n, 2n, 3n].map((t): Pair => ({ cf: 'write', key: withTimestamp(a, t), value: bytes('v') })),
      { cf: 'default', key: withTimestamp(b, 1n), value: bytes('v') },
    ]);
    const within = { start: withTimestamp(a, 2n) };
    expect(shown([(await middle(engine, within)) as Uint8Array])).to.deep.equal([escapeKey(b)]);
    expect(shown((await find(engine, byKeys(1, 1), within)).keys)).to.deep.equal([escapeKey(b)]);
  });
});

describe('The approximate size of a region', () => {
  let path: string;
  let rocks: Engine;

  beforeEach(async () => {
    path = await mkdtemp(join(tmpdir(), 'troupe-approximate-'));
    rocks = await openRocksEngine({ path });
  });

  afterEach(async () => {
    await rocks.close();
    await rm(path, { recursive: true, force: true });
  });

  const data = Array.from({ length: 20_000 }, (_, i) => pair('default', `r${100_000 + i}`, 'x'.repeat(93)));
  const third: KeyRange = { start: bytes('r105000'), end: bytes('r111667') };

  for (const where of ['memtables', 'tables']) {
    it(`is right within a factor of two and a half, in ${where}`, async () => {
      await fill(rocks, data);
      if (where === 'tables') {
        await rocks.close();
        rocks = await openRocksEngine({ path });
      }
      for (const [within, share] of [
        [{}, 1],
        [third, 1 / 3],
      ] as const) {
        const size = await approximateRegionSize(rocks, within);
        expect(size.bytes / (2_000_000 * share)).to.be.within(0.4, 2.5);
        expect(size.count / (20_000 * share)).to.be.within(0.4, 2.5);
      }
    });
  }

  it('is exact for what fits into one read, and nothing for nothing', async () => {
    expect(await approximateRegionSize(rocks, {})).to.deep.equal({ bytes: 0, count: 0 });
    await fill(rocks, [...tens(100), pair('lock', 'r5', 'x'), pair('write', 'q', 'x')]);
    expect(await approximateRegionSize(rocks, { start: bytes('r') })).to.deep.equal({
      bytes: 1003,
      count: 101,
    });
    const simulated = await memory();
    await fill(simulated, data);
    expect(await approximateRegionSize(simulated, {})).to.deep.equal({ bytes: 2_000_000, count: 20_000 });
  });
});
