import type { TransactionEvent } from '../../../machines/index.js';
import { TroupeError } from '../../errors.js';
import { kvrpcpb } from '../../proto/index.js';
import { Deadline, type WaitingParts } from '../deadline.js';
import { mayBeCollected } from './collected.js';
import { conflictError, keyError, type LockWait, lockedError, lockSentence } from './key-errors.js';
import type { LockResolver } from './lock-resolver.js';
import type { Batch } from './region-batches.js';
import type { TxnRequests } from './txn-requests.js';

export interface PrewriteParts {
  readonly requests: TxnRequests;
  readonly resolver: LockResolver;
  readonly waiting: WaitingParts;
}

export interface PrewriteOptions {
  readonly startTs: bigint;
  readonly primary: Uint8Array;
  /** All of the transaction. */
  readonly mutations: readonly kvrpcpb.Mutation[];
  /** Milliseconds from the start of the transaction. */
  readonly ttl: number;
  /** For the shorter ways; 0 for two phases. */
  readonly minCommitTs: bigint;
  readonly onePhase: boolean;
  readonly asyncCommit: boolean;
  readonly deadline: Deadline;
  readonly tell: (event: TransactionEvent) => void;
}

const NOTHING = (): void => undefined;

/** How a prewrite that failed leaves the transaction. */
export type FailedPrewrite =
  | { readonly type: 'refused'; readonly reason: unknown }
  | { readonly type: 'foundCommitted'; readonly commitTs: bigint }
  /** Nothing that left could have committed it. */
  | { readonly type: 'failed' }
  | { readonly type: 'gaveUp' };

/** A store's refusal; `conflict` when a record of the transaction itself stood in the way. */
class Refusal extends Error {
  constructor(
    readonly reason: TroupeError,
    readonly isOwn: boolean,
  ) {
    super(reason.message, { cause: reason });
  }
}

/**
 * How long a transaction waits for one that began before it, in milliseconds. When that one commits, this one has lost; and
 * when each waited for the other, both would wait until their time is over. The elder waits for the younger as long as it may.
 */
const PATIENCE_MS = 1_000;
/** How long the end of a transaction is looked for after its time, in milliseconds. */
const LOOK_MS = 2_000;

/** Locks the keys of one transaction, batch by batch, and knows what the replies amount to. */
export class Prewrite {
  readonly #parts: PrewriteParts;
  readonly #options: PrewriteOptions;
  #onePhase: boolean;
  #asyncCommit: boolean;
  /** Something left without a reply that could commit it. */
  #inDoubt = false;
  /** Batches that may have left locks. */
  #mayLock = 0;
  #onePcCommitTs = 0n;
  #maxMinCommitTs = 0n;

  constructor(parts: PrewriteParts, options: PrewriteOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#onePhase = options.onePhase;
    this.#asyncCommit = options.asyncCommit;
  }

  /** Whether keys may be locked: not where every batch was refused as a whole. */
  get mayHaveLocked(): boolean {
    return this.#mayLock > 0;
  }

  /** In one phase: it has left no locks. */
  get isCommitted(): boolean {
    return this.#onePcCommitTs > 0n;
  }

  /** Of one phase, or of an async commit when all batches are through; 0 for two phases. */
  get commitTs(): bigint {
    if (this.isCommitted) return this.#onePcCommitTs;
    return this.#asyncCommit ? this.#maxMinCommitTs : 0n;
  }

  /** @returns what the region does not hold any more */
  async send(batch: Batch<kvrpcpb.Mutation>): Promise<readonly kvrpcpb.Mutation[]> {
    const { deadline } = this.#options;
    const { requests, waiting } = this.#parts;
    const patientUntil = waiting.clock.now() + PATIENCE_MS;
    let unclear = false;
    let gone = NOTHING;
    this.#mayLock++;
    for (let attempt = 1; ; attempt++) {
      let answer: Awaited<ReturnType<TxnRequests['prewrite']>>;
      try {
        answer = await requests.prewrite(batch, (held) => this.#request(held), deadline);
      } catch (error) {
        if (error instanceof TroupeError && (error.code === 'undetermined' || error.code === 'closed'))
          this.#inDoubt = true;
        throw error;
      }
      const { response, rest, repeated } = answer;
      gone();
      if (response.errors.length === 0) {
        this.#note(response);
        return rest;
      }
      unclear ||= repeated;
      try {
        gone = await this.#clear(response.errors, attempt, patientUntil);
      } catch (error) {
        // A try without a reply may have committed it, and be what this one ran into; or it may yet arrive.
        if (unclear) this.#inDoubt = true;
        else if (error instanceof Refusal) this.#mayLock--;
        throw error;
      }
    }
  }

  /**
   * Sees to it that the batch may be sent again.
   * @returns to be called when the next reply is there: what is in the way then is told anew
   * @throws Refusal when that is of no use
   */
  async #clear(
    errors: readonly kvrpcpb.KeyError[],
    attempt: number,
    patientUntil: number,
  ): Promise<() => void> {
    const { deadline, startTs } = this.#options;
    const { resolver, waiting } = this.#parts;
    const locks = errors.flatMap(({ locked }) => (locked === undefined ? [] : [locked]));
    const refusal = errors.find(({ locked }) => locked === undefined);
    if (refusal !== undefined) throw new Refusal(keyError(refusal), refusal.conflict?.conflictTs === startTs);
    const wait = await resolver.clear(locks, deadline);
    if (wait === undefined) return NOTHING;
    // Named also when a later try of the whole transaction finds no time left.
    const gone = deadline.hinderedBy((cause) => lockedError(wait, cause));
    const elder = locks.find(({ lockVersion }) => lockVersion < startTs);
    if (elder !== undefined && waiting.clock.now() >= patientUntil)
      throw new Refusal(elderError(wait.lock.lockVersion < startTs ? wait : { lock: elder }), false);
    await deadline.pause(attempt);
    if (deadline.passed) throw lockedError(wait);
    return gone;
  }

  /** What the first failure of all batches means for the transaction. */
  async failed(error: unknown): Promise<FailedPrewrite> {
    const { startTs, primary } = this.#options;
    const { resolver, waiting } = this.#parts;
    const isShort = this.#onePhase || this.#asyncCommit;
    const refusal = error instanceof Refusal ? error : undefined;
    const mayBeCommitted = isShort && (this.#inDoubt || refusal?.isOwn === true);
    if (!mayBeCommitted) {
      return refusal === undefined ? { type: 'failed' } : { type: 'refused', reason: refusal.reason };
    }
    // Its primary knows, or the other keys of an async commit; asked so, they see to it that it ends.
    try {
      const fate = await resolver.settle(primary, startTs, new Deadline(waiting, LOOK_MS));
      if (fate.state === 'committed') return { type: 'foundCommitted', commitTs: fate.commitTs };
      // Of a commit that may have been carried out long ago nothing need be left.
      if (await mayBeCollected(this.#parts, primary, startTs)) return { type: 'gaveUp' };
      return { type: 'refused', reason: refusal?.reason ?? error };
    } catch {
      return { type: 'gaveUp' };
    }
  }

  #request(held: readonly kvrpcpb.Mutation[]): kvrpcpb.PrewriteRequest {
    const { startTs, primary, mutations, ttl, minCommitTs } = this.#options;
    const tryOnePc = this.#onePhase && held.length === mutations.length;
    const hasPrimary = held.some(({ key }) => key === primary);
    return kvrpcpb.PrewriteRequest.from({
      mutations: held,
      primaryLock: primary,
      startVersion: startTs,
      lockTtl: ttl,
      txnSize: mutations.length,
      minCommitTs: this.#asyncCommit || tryOnePc ? minCommitTs : 0n,
      useAsyncCommit: this.#asyncCommit,
      secondaries: this.#asyncCommit && hasPrimary ? this.#secondaries() : [],
      tryOnePc,
    });
  }

  #secondaries(): Uint8Array[] {
    const { mutations, primary } = this.#options;
    return mutations
      .filter(({ op, key }) => key !== primary && op !== kvrpcpb.Op.CheckNotExists)
      .map(({ key }) => key);
  }

  #note({ minCommitTs, onePcCommitTs }: kvrpcpb.PrewriteResponse): void {
    const { tell } = this.#options;
    if (onePcCommitTs > 0n) {
      this.#onePcCommitTs = onePcCommitTs;
      return;
    }
    const losesAsync = this.#asyncCommit && minCommitTs === 0n;
    if (losesAsync) this.#asyncCommit = false;
    if (minCommitTs > this.#maxMinCommitTs) this.#maxMinCommitTs = minCommitTs;
    if (this.#onePhase) {
      this.#onePhase = false;
      tell({ type: 'onePhaseRefused', asyncCommit: this.#asyncCommit });
    } else if (losesAsync) {
      tell({ type: 'asyncCommitRefused' });
    }
  }
}

function elderError(wait: LockWait): TroupeError {
  return conflictError(
    `${lockSentence(wait)}. It began before this one and goes on: begin anew when it may have ended.`,
  );
}
