import { SpanKind } from '@opentelemetry/api';
import { type ActorRefFrom, createActor } from 'xstate';
import type { TimerHandle } from '../../../actors/index.js';
import {
  type CommitWay,
  type TransactionEvent,
  type TransactionHost,
  type TransactionOutcome,
  transactionMachine,
} from '../../../machines/transaction.machine.js';
import { nameOfKey } from '../../../storage/keys.js';
import { TroupeError } from '../../errors.js';
import { kvrpcpb } from '../../proto/index.js';
import type { ClientTrace } from '../../tracing/client-tracing.js';
import { COMMIT_WAY, START_TS } from '../../tracing/names.js';
import { Deadline, type WaitingParts } from '../deadline.js';
import type { BackgroundTasks } from './background.js';
import { mayBeCollected } from './collected.js';
import { conflictError, existsError, keyError } from './key-errors.js';
import type { LockResolver } from './lock-resolver.js';
import { asyncCommitFits, heartbeatTtlMs, lockTtlMs } from './lock-time.js';
import { type Timestamps, takeTimestamp } from './oracle.js';
import { Prewrite } from './prewrite.js';
import { type Batch, keyBytes, type RegionBatches } from './region-batches.js';
import type { SnapshotReads } from './snapshot-reads.js';
import type { TxnRequests } from './txn-requests.js';

export interface CommitterParts {
  readonly requests: TxnRequests;
  readonly batches: RegionBatches;
  readonly resolver: LockResolver;
  readonly timestamps: Timestamps;
  readonly background: BackgroundTasks;
  readonly waiting: WaitingParts;
}

export interface CommitterOptions {
  readonly startTs: bigint;
  readonly reads: SnapshotReads;
  /** When that was received: milliseconds on the client's clock. */
  readonly startedAt: number;
  readonly deadline: Deadline;
  readonly onePc: boolean;
  readonly asyncCommit: boolean;
  /** The span of the transaction, which ends with it; absent where that is somebody else's to end. */
  readonly span?: ClientTrace | undefined;
}

/** Readers may push a transaction so often. */
const MAX_COMMIT_TIMESTAMPS = 16;
/** How long secondaries are committed, or locks removed, before that is left to whoever meets them. */
const FINISHING_MS = 20_000;

/** Does what the chart of a transaction says (machines/transaction.machine.ts), and tells it what came of that. */
export class Committer implements TransactionHost {
  readonly #parts: CommitterParts;
  readonly #options: CommitterOptions;
  readonly #actor: ActorRefFrom<typeof transactionMachine>;
  readonly #ended: Promise<bigint>;
  #resolve: (commitTs: bigint) => void = () => {};
  #reject: (reason: unknown) => void = () => {};
  #mutations: readonly kvrpcpb.Mutation[] = [];
  /** Of the mutations that leave a lock; the first is the primary. */
  #locking: readonly kvrpcpb.Mutation[] = [];
  #batches: readonly Batch<kvrpcpb.Mutation>[] = [];
  #prewrite: Prewrite | undefined;
  /** With the primary. */
  #committedKeys: ReadonlySet<kvrpcpb.Mutation> = new Set();
  #commitTs = 0n;
  #trouble: unknown;
  #finishing: Promise<void> = Promise.resolve();
  #heartbeat: TimerHandle | undefined;
  #tries = 0;
  /** Of the commit. */
  #trace: ClientTrace | undefined;

  constructor(parts: CommitterParts, options: CommitterOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#ended = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    // Whoever commits is told; one that is rolled back has nobody to tell.
    this.#ended.catch(() => undefined);
    void options.span?.until(this.#ended);
    const input = { host: this, maxCommitTimestamps: MAX_COMMIT_TIMESTAMPS };
    this.#actor = createActor(transactionMachine, { input }).start();
  }

  get isActive(): boolean {
    return this.#actor.getSnapshot().value === 'active';
  }

  /** 0 when it wrote nothing, or before it is committed. */
  get commitTs(): bigint {
    return this.#commitTs;
  }

  /** Only while it is active. @returns the commit timestamp, 0 where nothing was written. */
  async commit(mutations: readonly kvrpcpb.Mutation[]): Promise<bigint> {
    this.#mutations = mutations;
    this.#locking = mutations.filter(({ op }) => op !== kvrpcpb.Op.CheckNotExists);
    const { deadline, startTs } = this.#options;
    const within = deadline.trace;
    if (within !== undefined) {
      this.#trace = within.child('transaction commit', {
        kind: SpanKind.INTERNAL,
        size: mutations.length,
        attributes: { [START_TS]: String(startTs) },
      });
      deadline.trace = this.#trace;
      void this.#trace.until(this.#ended);
    }
    this.#send({ type: 'commit' });
    try {
      return await this.#ended;
    } finally {
      deadline.trace = within;
      // With too much in the background, those who bring more wait for their own.
      await this.#finishing;
    }
  }

  /** Only while it is active: nothing was sent. */
  rollBack(): void {
    this.#trouble = new TroupeError('closed', 'The transaction was rolled back.');
    this.#options.span?.event('rolled back');
    this.#options.span?.end();
    this.#send({ type: 'rollback' });
  }

  // What the chart asks for.

  prepare(): void {
    this.#do(async () => {
      if (this.#mutations.length === 0) return { type: 'prepared', way: 'nothing' };
      const { deadline, onePc, asyncCommit, startTs } = this.#options;
      const { batches, timestamps } = this.#parts;
      if (this.#locking.length === 0) return this.#checkAbsence();
      this.#batches = await batches.group(this.#mutations, mutationBytes, deadline);
      const isOnePhase = onePc && this.#batches.length === 1;
      const isAsync = asyncCommit && asyncCommitFits(this.#mutations);
      const way: CommitWay = isOnePhase ? 'onePhase' : isAsync ? 'asyncCommit' : 'twoPhase';
      this.#trace?.set({ [COMMIT_WAY]: way });
      // Above every commit that this client's caller may know of: the store's own timestamps may lie behind.
      const least = way === 'twoPhase' ? 0n : (await takeTimestamp(timestamps, deadline)) + 1n;
      this.#prewrite = new Prewrite(this.#parts, {
        startTs,
        primary: this.#primary,
        mutations: this.#mutations,
        ttl: this.#lockTtl(),
        minCommitTs: least,
        onePhase: isOnePhase,
        asyncCommit: isAsync,
        deadline,
        tell: (event) => this.#send(event),
      });
      return { type: 'prepared', way };
    });
  }

  prewrite(): void {
    this.#do(async () => {
      const { deadline } = this.#options;
      const prewrite = this.#prewrite;
      if (prewrite === undefined) return { type: 'failed' };
      try {
        await this.#parts.batches.send(this.#batches, mutationBytes, deadline, (batch) =>
          prewrite.send(batch),
        );
      } catch (error) {
        this.#trouble = error;
        const end = await prewrite.failed(error);
        if (end.type === 'refused') this.#trouble = end.reason;
        if (end.type === 'foundCommitted') this.#commitTs = end.commitTs;
        return { type: end.type };
      }
      this.#commitTs = prewrite.commitTs;
      return { type: prewrite.isCommitted ? 'foundCommitted' : 'prewritten' };
    });
  }

  takeCommitTimestamp(): void {
    this.#do(async () => {
      const { startTs, deadline } = this.#options;
      this.#commitTs = await takeTimestamp(this.#parts.timestamps, deadline);
      if (this.#commitTs > startTs) return { type: 'timestampTaken' };
      this.#trouble = new TroupeError(
        'failed',
        `The scheduler gave ${this.#commitTs} to a transaction that began at ${startTs}: its timestamps run backwards.`,
      );
      return { type: 'failed' };
    });
  }

  commitPrimary(inDoubt: boolean): void {
    this.#do(async () => {
      const { startTs, deadline } = this.#options;
      const batch = this.#primaryBatch();
      if (batch === undefined) return { type: 'primaryCommitted' };
      if (inDoubt) {
        if (deadline.passed || deadline.signal?.aborted) return { type: 'gaveUp' };
        await deadline.pause(++this.#tries);
      }
      const answer = await this.#parts.requests.commitOnce(batch, startTs, this.#commitTs, deadline);
      if ('error' in answer) {
        this.#trouble = answer.error;
        const isOver = answer.error instanceof TroupeError && answer.error.code === 'closed';
        if (answer.left) return { type: 'lost' };
        return { type: isOver && inDoubt ? 'gaveUp' : 'failed' };
      }
      const { error } = answer.response;
      if (error === undefined) {
        const { rest } = answer;
        this.#committedKeys = new Set(rest.length === 0 ? batch : batch.filter((one) => !rest.includes(one)));
        return { type: 'primaryCommitted' };
      }
      this.#trouble = keyError(error);
      if (error.commitTsExpired === undefined) {
        // Of a commit that may have been carried out long ago nothing need be left.
        const isUnclear = inDoubt && (await mayBeCollected(this.#parts, this.#primary, startTs));
        return { type: isUnclear ? 'gaveUp' : 'refused' };
      }
      this.#trouble = conflictError(
        'Readers have pushed the transaction again and again before it was committed: begin it anew.',
      );
      return { type: 'commitTsExpired' };
    }, inDoubt);
  }

  commitSecondaries(): void {
    const { startTs } = this.#options;
    const commitTs = this.#commitTs;
    const { requests, batches, background } = this.#parts;
    const done = this.#committedKeys;
    const wanted =
      this.#prewrite?.isCommitted === true ? [] : this.#locking.filter((mutation) => !done.has(mutation));
    if (wanted.length === 0) {
      this.#send({ type: 'secondariesCommitted' });
      return;
    }
    this.#finishing = background.run(async () => {
      try {
        const deadline = this.#finishingDeadline();
        await batches.sendAll(wanted, deadline, async (batch) => {
          return (await requests.commit(batch, startTs, commitTs, deadline)).rest;
        });
      } finally {
        this.#send({ type: 'secondariesCommitted' });
      }
    });
  }

  removeLocks(): void {
    const { startTs } = this.#options;
    const { requests, batches, background } = this.#parts;
    if (this.#prewrite?.mayHaveLocked !== true) {
      this.#send({ type: 'locksRemoved' });
      return;
    }
    this.#finishing = background.run(async () => {
      try {
        const deadline = this.#finishingDeadline();
        await batches.sendAll(this.#locking, deadline, async (batch) => {
          return (await requests.rollBack(batch, startTs, deadline)).rest;
        });
      } finally {
        this.#send({ type: 'locksRemoved' });
      }
    });
  }

  /** What is left to do goes on after the transaction has ended, and is told below its commit. */
  #finishingDeadline(): Deadline {
    const deadline = new Deadline(this.#parts.waiting, FINISHING_MS);
    deadline.trace = this.#trace;
    return deadline;
  }

  armHeartbeat(): void {
    this.#beatAfter((this.#lockTtl() - this.#elapsed()) / 2);
  }

  disarmHeartbeat(): void {
    if (this.#heartbeat !== undefined) this.#parts.waiting.clock.clearTimeout(this.#heartbeat);
    this.#heartbeat = undefined;
  }

  keepAlive(): void {
    const { startTs, deadline } = this.#options;
    const { requests, waiting } = this.#parts;
    if (deadline.passed) return;
    const ttl = heartbeatTtlMs(this.#elapsed());
    const life = ttl - this.#elapsed();
    this.#beatAfter(life / 4);
    // One that has not arrived by then is of no use: the later ones say more. Where the primary is not locked yet, or not any
    // more, the commit itself will be told.
    const beat = new Deadline(waiting, life, deadline.signal);
    requests.keepAlive(this.#primary, startTs, ttl, beat).catch(() => undefined);
  }

  ended(outcome: TransactionOutcome): void {
    if (outcome === 'committed') this.#resolve(this.#commitTs);
    else if (outcome === 'rolledBack')
      this.#reject(notCommitted(this.#trouble, this.#options.deadline.signal));
    else this.#reject(undeterminedError(this.#options.startTs, this.#trouble));
  }

  /** Runs one step of the chart, whose end is an event. @param inDoubt what fails leaves it unknown, too */
  #do(step: () => Promise<TransactionEvent>, inDoubt = false): void {
    step().then(
      (event) => this.#send(event),
      (error: unknown) => {
        this.#trouble = error;
        this.#send({ type: inDoubt ? 'gaveUp' : 'failed' });
      },
    );
  }

  #send(event: TransactionEvent): void {
    this.#actor.send(event);
  }

  /** It demands that keys have no value, and writes nothing: what it sees decides, as of its start. */
  async #checkAbsence(): Promise<TransactionEvent> {
    const { reads, deadline } = this.#options;
    const keys = this.#mutations.map(({ key }) => key);
    const found = await reads.batchGet(keys, deadline);
    const there = keys.find((key) => found.has(nameOfKey(key)));
    if (there === undefined) return { type: 'prepared', way: 'nothing' };
    this.#trouble = existsError(there);
    return { type: 'failed' };
  }

  get #primary(): Uint8Array {
    return this.#locking[0]?.key ?? new Uint8Array(0);
  }

  /** The primary first, and what was prewritten with it. */
  #primaryBatch(): Batch<kvrpcpb.Mutation> | undefined {
    const [primary] = this.#locking;
    if (primary === undefined) return undefined;
    const batch = this.#batches.find((one) => one.includes(primary)) ?? [];
    const others = batch.filter((one) => one !== primary && one.op !== kvrpcpb.Op.CheckNotExists);
    return [primary, ...others];
  }

  #lockTtl(): number {
    let bytes = 0;
    for (const mutation of this.#mutations) bytes += mutation.key.length + mutation.value.length;
    return lockTtlMs(bytes, this.#elapsed());
  }

  #elapsed(): number {
    return Math.max(0, this.#parts.waiting.clock.now() - this.#options.startedAt);
  }

  #beatAfter(ms: number): void {
    this.disarmHeartbeat();
    this.#heartbeat = this.#parts.waiting.clock.setTimeout(() => this.#send({ type: 'heartbeatDue' }), ms);
  }
}

/** Its share of a prewrite's log entry, without the primary: lock and value each stand under the key. */
function mutationBytes(mutation: kvrpcpb.Mutation): number {
  return keyBytes(mutation) + mutation.value.length;
}

/** The fate of one request is unknown; that of the transaction is not. */
function notCommitted(trouble: unknown, signal: AbortSignal | undefined): unknown {
  if (!(trouble instanceof TroupeError && trouble.code === 'undetermined')) return trouble;
  if (signal?.aborted) return signal.reason;
  return new TroupeError(
    'timeout',
    'The time for the transaction ran out before its keys were locked: nothing was written.',
    { cause: trouble },
  );
}

function undeterminedError(startTs: bigint, cause: unknown): TroupeError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new TroupeError(
    'undetermined',
    `The transaction that began at ${startTs} may or may not be committed, for no reply came to what commits it: read what it wrote before you repeat it. (${why})`,
    { cause },
  );
}
