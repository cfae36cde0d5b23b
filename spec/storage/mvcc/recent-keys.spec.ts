/** What is remembered of keys against what the engine's snapshots show, with batches and reads that take their time. */
import { expect } from 'chai';
import fc from 'fast-check';
import {
  type CommittedWrite,
  type Engine,
  encodeLock,
  encodeWrite,
  MAX_TIMESTAMP,
  MvccEngine,
  MvccReader,
  RecentKeys,
  SimulatedDisk,
  spaceRange,
  type Timestamp,
  txnKey,
  type WriteBatch,
  withTimestamp,
} from '../../../storage/index.js';
import { ForwardingEngine } from '../../simulation/disk-record.js';
import { bytes, lockOf, long, writeOf } from './mvcc-world.js';

const KEYS = [bytes(1), bytes(1, 0), bytes(2)].map(txnKey);
const [FIRST = bytes(), SECOND = bytes()] = KEYS;

/** Between the call of a write and its end, the batch is not visible, then visible but not told; reads wait likewise. */
class SlowEngine extends ForwardingEngine {
  readonly #unseen: (() => Promise<void>)[] = [];
  readonly #untold: (() => void)[] = [];
  readonly #reads: (() => void)[] = [];
  readonly snapshots: ReturnType<Engine['snapshot']>[] = [];

  override write(batch: WriteBatch): Promise<void> {
    return new Promise((resolve) => {
      this.#unseen.push(async () => {
        await this.inner.write(batch);
        this.#untold.push(resolve);
      });
    });
  }

  override snapshot() {
    const snapshot = this.inner.snapshot();
    this.snapshots.push(snapshot);
    return snapshot;
  }

  override async multiGet(...args: Parameters<Engine['multiGet']>) {
    await new Promise<void>((resolve) => this.#reads.push(resolve));
    return this.inner.multiGet(...args);
  }

  override async scan(...args: Parameters<Engine['scan']>) {
    await new Promise<void>((resolve) => this.#reads.push(resolve));
    return this.inner.scan(...args);
  }

  async show(): Promise<void> {
    await this.#unseen.shift()?.();
  }

  async tell(): Promise<void> {
    this.#untold.shift()?.();
    await pause();
  }

  /** Lets reads go on that wait now, and returns whether there were any. */
  async answer(): Promise<boolean> {
    const reads = this.#reads.splice(0);
    for (const read of reads) read();
    await pause();
    return reads.length > 0;
  }

  async finish(): Promise<void> {
    while (this.#unseen.length > 0) await this.show();
    while (this.#untold.length > 0) await this.tell();
    while (await this.answer());
  }
}

const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

interface Seen {
  readonly locks: readonly unknown[];
  readonly newest: readonly (CommittedWrite | undefined)[];
  readonly below: readonly (readonly CommittedWrite[])[];
  readonly values: readonly unknown[];
}

/** Everything that commands and reads ask for. */
async function look(reader: MvccReader, ts: Timestamp): Promise<Seen> {
  const newest: (CommittedWrite | undefined)[] = [];
  const below: CommittedWrite[][] = KEYS.map(() => []);
  const queries = KEYS.flatMap((stored, i) => [
    {
      stored,
      from: MAX_TIMESTAMP,
      take: (write: CommittedWrite) => {
        newest[i] = write;
        return true;
      },
    },
    { stored, from: ts, take: (write: CommittedWrite) => (below[i]?.push(write) ?? 0) >= 2 },
  ]);
  const [locks] = await Promise.all([reader.locks(KEYS), reader.seekWrites(queries)]);
  const values: unknown[] = [];
  for (const [i, stored] of KEYS.entries()) {
    const startTs = newest[i]?.startTs;
    if (startTs === undefined) continue;
    try {
      values.push(...(await reader.values([{ stored, startTs }])));
    } catch {
      values.push('missing');
    }
  }
  return { locks, newest: KEYS.map((_, i) => newest[i]), below, values };
}

const change = fc.record({
  kind: fc.constantFrom('put', 'put', 'put', 'remove', 'lock', 'unlock', 'value', 'valueless', 'range'),
  key: fc.nat(KEYS.length - 1),
  commitTs: fc.integer({ min: 2, max: 8 }),
  write: fc.constantFrom('put', 'delete', 'lock', 'rollback'),
  isShort: fc.boolean(),
  salt: fc.nat(255),
});
type Change = typeof change extends fc.Arbitrary<infer T> ? T : never;

function add(batch: WriteBatch, { kind, key, commitTs, write, isShort, salt }: Change): void {
  const stored = KEYS[key] ?? FIRST;
  const at = withTimestamp(stored, BigInt(commitTs));
  const startTs = BigInt(commitTs - 1);
  const shortValue = write === 'put' && isShort ? bytes(salt) : undefined;
  if (kind === 'put') {
    const kindOfWrite = write === 'rollback' ? ('rollback' as const) : (write as 'put' | 'delete' | 'lock');
    batch.put('write', at, encodeWrite(writeOf(kindOfWrite, startTs, { shortValue })));
  } else if (kind === 'remove') batch.delete('write', at);
  else if (kind === 'lock') batch.put('lock', stored, encodeLock(lockOf({ startTs, primary: bytes(salt) })));
  else if (kind === 'unlock') batch.delete('lock', stored);
  else if (kind === 'value') batch.put('default', withTimestamp(stored, startTs), long(salt));
  else if (kind === 'valueless') batch.delete('default', withTimestamp(stored, startTs));
  else if (salt < 32) {
    const { start, end } = spaceRange('txn');
    for (const cf of ['default', 'lock', 'write'] as const) batch.deleteRange(cf, start, end);
  }
}

const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant('write' as const),
      changes: fc.array(change, { minLength: 1, maxLength: 4 }),
      cut: fc.nat(4),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant('look' as const),
      ts: fc.integer({ min: 1, max: 9 }),
      late: fc.boolean(),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      op: fc.constantFrom(
        'show' as const,
        'tell' as const,
        'answer' as const,
        'answer' as const,
        'finish' as const,
      ),
    }),
  },
);

describe('Keys that are remembered', () => {
  it('are what every snapshot shows, however long batches and reads take', async () => {
    let recalled = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 60, size: 'max' }),
        fc.boolean(),
        async (steps, isSmall) => {
          const { slow, engine, inner } = await world(isSmall ? 1_000 : undefined);
          const looks: Promise<void>[] = [];
          for (const one of steps) {
            if (one.op === 'write') {
              const batch = engine.batch();
              for (const each of one.changes) add(batch, each);
              batch.truncate(Math.min(batch.count, 1 + one.cut));
              engine.write(batch);
            } else if (one.op === 'look') {
              const snapshot = engine.snapshot();
              const shown = slow.snapshots.at(-1);
              if (shown === undefined) throw new Error('no snapshot was taken');
              for (const stored of KEYS) if (engine.recall(stored, snapshot)?.newest != null) recalled++;
              const ts = BigInt(one.ts);
              looks.push(
                (async () => {
                  // Somebody may look when the snapshot has grown old.
                  if (one.late) await slow.multiGet('lock', [FIRST]);
                  const found = await look(new MvccReader(engine, snapshot), ts);
                  expect(found).to.deep.equal(await look(new MvccReader(inner, shown), ts));
                })(),
              );
            } else await slow[one.op]();
          }
          await slow.finish();
          await Promise.all(looks);
        },
      ),
      { seed: 20_261_127, numRuns: 400 },
    );
    expect(recalled).to.be.greaterThan(500);
  });

  it('need no look at the engine, once they were read or their change was seen', async () => {
    const { slow, engine } = await world();
    const changed = engine.batch();
    changed.put('write', withTimestamp(FIRST, 5n), encodeWrite(writeOf('put', 4n, { shortValue: bytes(1) })));
    await done(slow, engine.write(changed));
    await done(slow, ask(engine));
    // A read that the engine had to answer would wait for `answer`.
    expect(await ask(engine)).to.deep.equal([{ commitTs: 5n, value: bytes(1) }, undefined]);
    const again = engine.batch();
    again.put('write', withTimestamp(SECOND, 7n), encodeWrite(writeOf('put', 6n, { shortValue: bytes(2) })));
    await done(slow, engine.write(again));
    expect(await ask(engine)).to.deep.equal([
      { commitTs: 5n, value: bytes(1) },
      { commitTs: 7n, value: bytes(2) },
    ]);
  });

  it('are of a snapshot once every batch before it is visible, in whatever order that is told', () => {
    const recent = new RecentKeys();
    const batches = KEYS.map((key) => recent.submit([{ cf: 'lock', key, value: undefined }], false));
    const [one = 0, two = 0, three = 0] = batches;
    const told = [two, one, three].map((batch) => {
      recent.settled(batch);
      return recent.visible;
    });
    expect(told).to.deep.equal([0, 2, 3]);
  });

  it('that were replaced meanwhile weigh nothing', () => {
    const recent = new RecentKeys();
    const before = recent.at(FIRST, 0);
    if (before === undefined) throw new Error('it was not taken up');
    const { bytes: weight } = recent;
    recent.submit([{ cf: 'lock', key: FIRST, value: undefined }], false);
    const shortValue = bytes(1, 2, 3);
    recent.keepNewest(FIRST, before, { ...writeOf('put', 1n, { shortValue }), commitTs: 2n });
    recent.keepValue(FIRST, before, 1n, shortValue);
    expect(recent.bytes).to.equal(weight);
  });

  it('stay within their bytes, those in use', () => {
    const recent = new RecentKeys(4_000);
    for (let i = 0; i < 100; i++) {
      expect(recent.at(KEYS[0] ?? FIRST, 0)).to.not.equal(undefined);
      recent.at(txnKey(bytes(9, i)), 0);
    }
    expect(recent.bytes).to.be.within(3_000, 4_000);
    expect(recent.size).to.be.lessThan(16);
    const kept = recent.at(FIRST, 0);
    if (kept === undefined) throw new Error('it was taken up');
    recent.keepValue(FIRST, kept, 1n, new Uint8Array(2_000));
    expect(recent.bytes).to.be.within(2_000, 4_000);
    recent.keepValue(FIRST, kept, 2n, new Uint8Array(5_000));
    expect(recent.at(FIRST, 0)?.value?.startTs).to.equal(1n);
  });
});

async function world(maxBytes?: number) {
  const inner = await new SimulatedDisk({ random: () => 0 }).open();
  const slow = new SlowEngine(inner);
  return { slow, inner, engine: new MvccEngine(slow, new RecentKeys(maxBytes)) };
}

async function done(slow: SlowEngine, what: Promise<unknown>): Promise<void> {
  await slow.finish();
  await what;
}

async function ask(engine: MvccEngine) {
  const reader = new MvccReader(engine, engine.snapshot());
  const found: ({ commitTs: Timestamp; value: Uint8Array | undefined } | undefined)[] = [
    undefined,
    undefined,
  ];
  const queries = [FIRST, SECOND].map((stored, i) => ({
    stored,
    from: MAX_TIMESTAMP,
    take: ({ commitTs, shortValue: value }: CommittedWrite) => {
      found[i] = { commitTs, value };
      return true;
    },
  }));
  await Promise.all([reader.locks([FIRST, SECOND]), reader.seekWrites(queries)]);
  return found;
}
