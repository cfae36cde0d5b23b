/** Random histories of commands against a naive model: outcomes, reads, scans; and garbage collection, which nobody sees. */
import { expect } from 'chai';
import fc from 'fast-check';
import {
  compareBytes,
  evaluate,
  MAX_TIMESTAMP,
  type MvccCommand,
  type MvccOutcome,
  type PointResult,
  readPoints,
  type SnapshotPair,
  type Timestamp,
} from '../../../storage/index.js';
import { bytes, describeOnEngines, long, type MvccWorld, prewriteOf } from './mvcc-world.js';
import { type NaiveOutcome, type NaiveRead, NaiveStore } from './naive-model.js';

/** Neighbours, prefixes of each other, and bytes at both ends. */
const KEYS = [
  bytes(0),
  bytes(0, 0),
  bytes(1),
  bytes(1, 2, 3, 4, 5, 6, 7, 8),
  bytes(1, 2, 3, 4, 5, 6, 7, 8, 0),
  bytes(255, 255),
];
const TRANSACTIONS = 5;
const EXPIRED = 1_000_000n << 18n;

const step = fc.record({
  op: fc.constantFrom(
    'begin',
    'prewrite',
    'prewrite',
    'prewrite',
    'commit',
    'commit',
    'rollback',
    'checkTxnStatus',
    'checkSecondaryLocks',
    'resolveLock',
    'txnHeartBeat',
  ),
  txn: fc.nat(TRANSACTIONS - 1),
  keys: fc.uniqueArray(fc.nat(KEYS.length - 1), { minLength: 1, maxLength: 4 }),
  kinds: fc.array(fc.constantFrom('put', 'put', 'delete', 'lock', 'insert', 'checkNotExists'), {
    minLength: KEYS.length,
    maxLength: KEYS.length,
  }),
  protocol: fc.constantFrom('two-phase', 'async', 'one-phase'),
  isLong: fc.boolean(),
  flag: fc.boolean(),
  back: fc.nat(6),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

interface Transaction {
  startTs: Timestamp;
  keys: readonly Uint8Array[];
  primary: Uint8Array;
  /** As its prewrites answered. */
  commitTs: Timestamp;
}

/** Turns steps into commands that a store could get; timestamps grow by one, so that computed ones collide with given ones. */
class History {
  // Far enough from 0 for every timestamp that a step goes back to.
  clock = 30n;
  readonly #transactions: Transaction[] = Array.from({ length: TRANSACTIONS }, () => this.#begin([bytes(1)]));

  #begin(keys: readonly Uint8Array[]): Transaction {
    this.clock++;
    return { startTs: this.clock, keys, primary: keys[0] ?? bytes(1), commitTs: 0n };
  }

  next(taken: Step): { readonly command: MvccCommand; readonly commitFloor: Timestamp } | undefined {
    const keys = taken.keys.map((i) => KEYS[i] ?? bytes(1));
    if (taken.op === 'begin') {
      this.#transactions[taken.txn] = this.#begin(keys);
      return undefined;
    }
    const txn = this.#transactions[taken.txn] as Transaction;
    return { command: this.#command(taken, txn, keys), commitFloor: taken.back === 0 ? 0n : this.clock + 1n };
  }

  answered({ txn }: Step, outcome: MvccOutcome): void {
    const { reply } = outcome;
    const transaction = this.#transactions[txn];
    if (transaction && reply.kind === 'prewrite') transaction.commitTs = reply.minCommitTs;
  }

  #command(taken: Step, txn: Transaction, keys: readonly Uint8Array[]): MvccCommand {
    const { startTs, primary } = txn;
    const caller = this.clock - BigInt(taken.back);
    switch (taken.op) {
      case 'prewrite': {
        const kinds = txn.keys.map((key, i) => (key === primary ? 'put' : (taken.kinds[i] ?? 'put')));
        const mutations = txn.keys.map((key, i) => {
          const kind = kinds[i] ?? 'put';
          const hasValue = kind === 'put' || kind === 'insert';
          const value = taken.isLong ? long(Number(startTs)) : bytes(Number(startTs % 200n));
          return { kind, key, value: hasValue ? value : bytes() };
        });
        const secondaries = txn.keys.filter((key) => key !== primary);
        return prewriteOf(startTs, primary, mutations, {
          minCommitTs: taken.flag ? startTs + 1n : 0n,
          asyncCommit: taken.protocol === 'async' ? { secondaries } : undefined,
          tryOnePc: taken.protocol === 'one-phase',
        });
      }
      case 'commit':
        return {
          kind: 'commit',
          keys: taken.flag ? txn.keys : keys,
          startTs,
          commitTs: txn.commitTs || ++this.clock,
        };
      case 'rollback':
        return { kind: 'rollback', keys, startTs };
      case 'checkSecondaryLocks':
        return { kind: 'checkSecondaryLocks', keys, startTs };
      case 'txnHeartBeat':
        return { kind: 'txnHeartBeat', primary, startTs, adviseTtl: taken.back * 1000 };
      case 'resolveLock': {
        const commitTs = taken.flag ? txn.commitTs || ++this.clock : 0n;
        return { kind: 'resolveLock', keys: KEYS, statuses: new Map([[startTs, commitTs]]) };
      }
      default:
        return {
          kind: 'checkTxnStatus',
          primary,
          lockTs: startTs,
          callerStartTs: caller,
          currentTs: taken.back > 3 ? EXPIRED : this.clock,
          rollbackIfNotExist: taken.isLong,
          forceSyncCommit: taken.flag,
          verifyIsPrimary: false,
        };
    }
  }
}

/** An outcome as the model tells it. */
function plain({ reply, errors }: MvccOutcome): NaiveOutcome {
  const codes = errors.map(({ code }) => code);
  if (codes.length > 0) return { errors: codes, reply: undefined };
  switch (reply.kind) {
    case 'prewrite':
      return { errors: codes, reply: { min: reply.minCommitTs, one: reply.onePcCommitTs } };
    case 'txnHeartBeat':
      return { errors: codes, reply: reply.ttl };
    case 'checkSecondaryLocks':
      return { errors: codes, reply: { locks: reply.locks.length, commitTs: reply.commitTs } };
    case 'checkTxnStatus': {
      const { status } = reply;
      if (status.state === 'committed') return { errors: codes, reply: status.commitTs };
      return { errors: codes, reply: status.state === 'locked' ? 'locked' : `rolled-back ${status.action}` };
    }
    default:
      return { errors: codes, reply: undefined };
  }
}

function plainRead(result: PointResult): NaiveRead {
  if ('value' in result) return result;
  if (result.error.code === 'key-is-locked') return { lockedBy: result.error.lock.startTs };
  throw new Error(`A read cannot end with ${result.error.code}.`);
}

function plainPair(pair: SnapshotPair): { key: Uint8Array; read: NaiveRead } {
  return { key: Uint8Array.from(pair.key), read: plainRead('value' in pair ? { value: pair.value } : pair) };
}

/** A whole scan in pieces. */
async function scanInPieces(world: MvccWorld, ts: Timestamp, limit: number, reverse: boolean) {
  const pairs: { key: Uint8Array; read: NaiveRead }[] = [];
  let bound = bytes();
  for (;;) {
    const range = reverse ? { end: bound } : { start: bound };
    const piece = await world.scan({ ts, limit, reverse, ...range });
    expect(piece.pairs.length).to.be.at.most(limit);
    pairs.push(...piece.pairs.map(plainPair));
    if (!piece.more || !piece.lastKey) return pairs;
    bound = Uint8Array.from(reverse ? piece.lastKey : [...piece.lastKey, 0]);
  }
}

async function expectReads(world: MvccWorld, model: NaiveStore, ts: Timestamp, limit: number): Promise<void> {
  const reads = KEYS.map((key) => ({ key, ts }));
  const points = await world.read((reader) => readPoints(reads, reader));
  expect(points.map(plainRead)).to.deep.equal(KEYS.map((key) => model.read(key, ts)));
  const expected = model.scan(ts).sort((a, b) => compareBytes(a.key, b.key));
  expect(await scanInPieces(world, ts, limit, false)).to.deep.equal(expected);
  expect(await scanInPieces(world, ts, limit, true)).to.deep.equal([...expected].reverse());
}

/** Plays a history and compares every outcome. */
async function play(
  world: MvccWorld,
  steps: readonly Step[],
): Promise<{ history: History; model: NaiveStore }> {
  await world.clear();
  const history = new History();
  const model = new NaiveStore();
  for (const taken of steps) {
    const request = history.next(taken);
    if (!request) continue;
    const [outcome] = await world.read((reader) => evaluate([request], reader));
    if (!outcome) continue;
    expect(plain(outcome), JSON.stringify(taken)).to.deep.equal(
      model.run(request.command, request.commitFloor),
    );
    await world.write(outcome.changes);
    history.answered(taken, outcome);
  }
  return { history, model };
}

const steps = fc.array(step, { minLength: 5, maxLength: 60 });

describeOnEngines('Transactions against a naive model', (world) => {
  // RocksDB has its engine's compliance suite; a few histories are enough there.
  const numRuns = (): number => (world().engine.constructor.name === 'RocksEngine' ? 15 : 150);

  it('come to the same outcomes, and are read the same', async () => {
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(40), fc.integer({ min: 1, max: 7 }), async (taken, back, limit) => {
        const { history, model } = await play(world(), taken);
        const past = history.clock + 2n - BigInt(back);
        for (const ts of [past > 0n ? past : 1n, history.clock + 1n, MAX_TIMESTAMP]) {
          await expectReads(world(), model, ts, limit);
        }
      }),
      { seed: 20_261_127, numRuns: numRuns() },
    );
  });

  it('are read the same after garbage collection at every timestamp from the safe point on', async () => {
    await fc.assert(
      fc.asyncProperty(steps, fc.nat(20), fc.integer({ min: 1, max: 4 }), async (taken, back, few) => {
        const { history, model } = await play(world(), taken);
        const safePoint = history.clock - BigInt(back);
        const old = await world().locks(safePoint);
        const command = {
          kind: 'resolveLock',
          keys: old.map(({ key }) => key),
          statuses: new Map(old.map(({ startTs }) => [startTs, 0n])),
        } as const;
        await world().run(command);
        model.run(command, 0n);
        await world().collect({ safePoint, maxKeys: few, maxBytes: few * 20 });
        for (let ts = safePoint; ts <= history.clock + 2n; ts++) await expectReads(world(), model, ts, 3);
        await expectReads(world(), model, MAX_TIMESTAMP, 3);
        await expectNothingLeft(world(), safePoint);
      }),
      { seed: 20_261_127, numRuns: numRuns() },
    );
  });
});

/** Of each key at most one record lies at or below the safe point, a put; and every long value has its record or lock. */
async function expectNothingLeft(world: MvccWorld, safePoint: Timestamp): Promise<void> {
  let longValues = 0;
  for (const key of KEYS) {
    const { writes, values, lock } = await world.describe(key);
    const old = writes.filter(({ commitTs }) => commitTs <= safePoint);
    expect(old.map(({ kind }) => kind)).to.deep.equal(old.length > 0 ? ['put'] : []);
    const holders = [...writes, ...(lock ? [lock] : [])].filter(
      ({ kind, shortValue }) => kind === 'put' && !shortValue,
    );
    expect(values.map(({ startTs }) => startTs).sort()).to.deep.equal(
      holders.map(({ startTs }) => startTs).sort(),
    );
    longValues += values.length;
  }
  expect((await world.lens())[0]).to.equal(longValues);
}
