import type { Clock } from '../../../actors/index.js';
import { TroupeError } from '../../errors.js';
import type { kvrpcpb, troupepb } from '../../proto/index.js';
import { type AskedRegion, type Call, type CallTerms, unexpected } from '../call.js';
import type { Deadline } from '../deadline.js';
import type { Dispatcher } from '../dispatcher.js';
import { type Keyed, LocateCall, type TxnAnswer, TxnCall, type TxnQuestion } from './txn-call.js';

/**
 * How long the first try of a write waits for its reply, in milliseconds: after that it is sent again. Each further one waits
 * twice as long: to a store that is late because it has much to do, every try is more of that.
 */
const TRY_MS = 2_000;
const LONGEST_TRY_MS = 16_000;

/** What an answer to a repeated command says beside its response. */
const NO_BYTES = new Uint8Array(0);

export interface RepeatedAnswer<I extends Keyed, R> extends TxnAnswer<I, R> {
  /** An earlier try had left, and nobody knows what came of it. */
  readonly repeated: boolean;
}

export type ReadTerms = Pick<kvrpcpb.ReadContext, 'resolvedLocks' | 'committedLocks'>;

/**
 * The commands of transactions, each sent where its first key lies. All of them may be repeated: a store that has done one
 * before answers as it did then. So a write without a reply is sent again, as long as its deadline allows, where
 * a method does not say otherwise.
 *
 * What writes of a transaction may have done without a reply is `undetermined`. Commands that find out about other
 * transactions, or clean up after them, leave no doubt that anybody would have to hear of: without a reply they are late.
 */
export class TxnRequests {
  readonly #dispatcher: Dispatcher;
  readonly #clock: Clock;

  constructor({ dispatcher, clock }: { readonly dispatcher: Dispatcher; readonly clock: Clock }) {
    this.#dispatcher = dispatcher;
    this.#clock = clock;
  }

  /** The region that holds `key`, as far as known; it is looked up where nothing is. */
  async locate(key: Uint8Array, deadline: Deadline): Promise<AskedRegion> {
    const region = await this.#submit<AskedRegion | undefined>(new LocateCall(this.#terms(deadline), key));
    if (region === undefined) throw new TroupeError('unavailable', 'The region of the key is not known yet.');
    return region;
  }

  async get(
    key: Uint8Array,
    version: bigint,
    context: ReadTerms,
    deadline: Deadline,
  ): Promise<kvrpcpb.GetResponse> {
    const { response } = await this.#ask('get', deadline, {
      write: false,
      items: [{ key }],
      bytes: key.length,
      request: () => ({ get: { context, key, version } }),
      response: ({ get }) => get ?? failUnexpected(),
    });
    return response;
  }

  batchGet(
    items: readonly [Keyed, ...Keyed[]],
    version: bigint,
    context: ReadTerms,
    deadline: Deadline,
  ): Promise<TxnAnswer<Keyed, { asked: readonly Keyed[]; batchGet: kvrpcpb.BatchGetResponse }>> {
    let asked: readonly Keyed[] = [];
    return this.#ask('batchGet', deadline, {
      write: false,
      items,
      bytes: bytesOfKeys(items),
      request: (held) => {
        asked = held;
        return { batchGet: { context, keys: keysOf(held), version } };
      },
      response: ({ batchGet }) => ({ asked, batchGet: batchGet ?? failUnexpected() }),
    });
  }

  prewrite(
    mutations: readonly [kvrpcpb.Mutation, ...kvrpcpb.Mutation[]],
    make: (held: readonly kvrpcpb.Mutation[]) => kvrpcpb.PrewriteRequest,
    deadline: Deadline,
  ): Promise<RepeatedAnswer<kvrpcpb.Mutation, kvrpcpb.PrewriteResponse>> {
    let bytes = 0;
    for (const { key, value } of mutations) bytes += 2 * key.length + value.length;
    return this.#repeat('prewrite', deadline, WRITING, {
      write: true,
      items: mutations,
      bytes,
      request: (held) => ({ prewrite: make(held) }),
      response: ({ prewrite }) => prewrite ?? failUnexpected(),
    });
  }

  /**
   * Once: who commits a primary has to know whether it may be committed.
   * @returns the answer, or why there is none and whether the command may have been carried out
   */
  async commitOnce<I extends Keyed>(
    items: readonly [I, ...I[]],
    startTs: bigint,
    commitTs: bigint,
    deadline: Deadline,
  ): Promise<TxnAnswer<I, kvrpcpb.CommitResponse> | { readonly error: unknown; readonly left: boolean }> {
    const call = new TxnCall(this.#terms(deadline, TRY_MS), commitQuestion(items, startTs, commitTs));
    deadline.trace?.follow(call, 'commit', items.length);
    try {
      return await this.#submit<TxnAnswer<I, kvrpcpb.CommitResponse>>(call);
    } catch (error) {
      return { error, left: call.sent || codeOf(error) === 'undetermined' };
    }
  }

  commit<I extends Keyed>(
    items: readonly [I, ...I[]],
    startTs: bigint,
    commitTs: bigint,
    deadline: Deadline,
  ): Promise<TxnAnswer<I, kvrpcpb.CommitResponse>> {
    return this.#repeat('commit', deadline, WRITING, commitQuestion(items, startTs, commitTs));
  }

  rollBack<I extends Keyed>(
    items: readonly [I, ...I[]],
    startVersion: bigint,
    deadline: Deadline,
  ): Promise<TxnAnswer<I, kvrpcpb.BatchRollbackResponse>> {
    return this.#repeat('rollback', deadline, WRITING, {
      write: true,
      items,
      bytes: bytesOfKeys(items),
      request: (held) => ({ batchRollback: { startVersion, keys: keysOf(held) } }),
      response: ({ batchRollback }) => batchRollback ?? failUnexpected(),
    });
  }

  async keepAlive(
    primaryLock: Uint8Array,
    startVersion: bigint,
    adviseLockTtl: number,
    deadline: Deadline,
  ): Promise<kvrpcpb.TxnHeartBeatResponse> {
    const txnHeartBeat = { primaryLock, startVersion, adviseLockTtl };
    return this.#repeatOne(
      'heartbeat',
      deadline,
      primaryLock,
      { txnHeartBeat },
      (response) => response.txnHeartBeat ?? failUnexpected(),
    );
  }

  async checkTxnStatus(
    checkTxnStatus: kvrpcpb.CheckTxnStatusRequest,
    deadline: Deadline,
  ): Promise<kvrpcpb.CheckTxnStatusResponse> {
    return this.#repeatOne(
      'checkTxnStatus',
      deadline,
      checkTxnStatus.primaryKey,
      { checkTxnStatus },
      (response) => response.checkTxnStatus ?? failUnexpected(),
    );
  }

  checkSecondaryLocks<I extends Keyed>(
    items: readonly [I, ...I[]],
    startVersion: bigint,
    deadline: Deadline,
  ): Promise<TxnAnswer<I, { asked: number; check: kvrpcpb.CheckSecondaryLocksResponse }>> {
    let asked = 0;
    return this.#repeat('checkSecondaryLocks', deadline, CLEARING, {
      write: true,
      items,
      bytes: bytesOfKeys(items),
      request: (held) => {
        asked = held.length;
        return { checkSecondaryLocks: { startVersion, keys: keysOf(held) } };
      },
      response: ({ checkSecondaryLocks }) => ({ asked, check: checkSecondaryLocks ?? failUnexpected() }),
    });
  }

  /** Ends the locks of these keys; a `commitVersion` of 0 removes them. */
  resolveKeys<I extends Keyed>(
    items: readonly [I, ...I[]],
    startVersion: bigint,
    commitVersion: bigint,
    deadline: Deadline,
  ): Promise<TxnAnswer<I, kvrpcpb.ResolveLockResponse>> {
    return this.#repeat('resolveLock', deadline, CLEARING, {
      write: true,
      items,
      bytes: bytesOfKeys(items),
      request: (held) => ({
        resolveLock: { startVersion, commitVersion, txnInfos: [], keys: keysOf(held), startKey: NO_BYTES },
      }),
      response: ({ resolveLock }) => resolveLock ?? failUnexpected(),
    });
  }

  /** @param beforeTs only versions committed below it; 0 for all */
  async mvccByKey(
    key: Uint8Array,
    beforeTs: bigint,
    deadline: Deadline,
  ): Promise<kvrpcpb.MvccGetByKeyResponse> {
    const { response } = await this.#ask('versions', deadline, {
      write: false,
      items: [{ key }],
      bytes: key.length,
      request: () => ({ mvccGetByKey: { key, beforeTs } }),
      response: ({ mvccGetByKey }) => mvccGetByKey ?? failUnexpected(),
    });
    return response;
  }

  /** A call of another kind, for example a page of a scan. */
  submit(call: Call): void {
    this.#dispatcher.submit(call);
  }

  /** As the dispatcher's. */
  flushed(): Promise<void> {
    return this.#dispatcher.flushed();
  }

  drop(call: Call): void {
    this.#dispatcher.calls.drop(call);
  }

  terms(deadline: Deadline): CallTerms {
    return this.#terms(deadline);
  }

  async #repeatOne<R>(
    operation: string,
    deadline: Deadline,
    key: Uint8Array,
    request: troupepb.RegionRequest,
    response: (response: troupepb.RegionResponse) => R,
  ): Promise<R> {
    const question: TxnQuestion<Keyed, R> = {
      write: true,
      items: [{ key }],
      bytes: key.length,
      request: () => request,
      response,
    };
    return (await this.#repeat(operation, deadline, CLEARING, question)).response;
  }

  /** Each try is a span of its own. */
  async #repeat<I extends Keyed, R>(
    operation: string,
    deadline: Deadline,
    failure: Failure,
    question: TxnQuestion<I, R>,
  ): Promise<RepeatedAnswer<I, R>> {
    let repeated = false;
    for (let attempt = 1; ; attempt++) {
      const patience = Math.min(TRY_MS * 2 ** (attempt - 1), LONGEST_TRY_MS);
      const call = new TxnCall(this.#terms(deadline, patience), question);
      deadline.trace?.follow(call, operation, question.items.length);
      try {
        return { ...(await this.#submit<TxnAnswer<I, R>>(call)), repeated };
      } catch (error) {
        const code = codeOf(error);
        const left = call.sent || code === 'undetermined';
        const again = !deadline.passed && (left || code === 'timeout' || code === 'unavailable');
        if (!again || code === 'closed' || deadline.signal?.aborted) throw failure(error, repeated, deadline);
        repeated ||= left;
      }
      try {
        await deadline.pause(attempt);
      } catch (error) {
        throw failure(error, repeated, deadline);
      }
    }
  }

  #ask<I extends Keyed, R>(
    operation: string,
    deadline: Deadline,
    question: TxnQuestion<I, R>,
  ): Promise<TxnAnswer<I, R>> {
    const call = new TxnCall(this.#terms(deadline), question);
    deadline.trace?.follow(call, operation, question.items.length);
    return this.#submit(call);
  }

  #submit<T>(call: Call): Promise<T> {
    this.#dispatcher.submit(call);
    return call.promise as Promise<T>;
  }

  /** @param limit milliseconds that it may take at most */
  #terms(deadline: Deadline, limit = Number.POSITIVE_INFINITY): CallTerms {
    return {
      owner: this.#dispatcher.calls,
      deadline: this.#clock.now() + Math.min(deadline.left, limit),
      signal: deadline.signal,
      group: undefined,
    };
  }
}

export function keysOf(items: readonly Keyed[]): Uint8Array[] {
  return items.map(({ key }) => key);
}

function commitQuestion<I extends Keyed>(
  items: readonly [I, ...I[]],
  startVersion: bigint,
  commitVersion: bigint,
): TxnQuestion<I, kvrpcpb.CommitResponse> {
  return {
    write: true,
    items,
    bytes: bytesOfKeys(items),
    request: (held) => ({ commit: { startVersion, keys: keysOf(held), commitVersion } }),
    response: ({ commit }) => commit ?? failUnexpected(),
  };
}

function bytesOfKeys(items: readonly Keyed[]): number {
  let bytes = 0;
  for (const { key } of items) bytes += 2 * key.length;
  return bytes;
}

function codeOf(error: unknown): string | undefined {
  return error instanceof TroupeError ? error.code : undefined;
}

/** What is thrown when a command is given up. @param lost an earlier try had left without a reply */
type Failure = (error: unknown, lost: boolean, deadline: Deadline) => unknown;

/** Of a transaction: nobody knows whether a try without a reply was carried out. */
const WRITING: Failure = (cause, lost) => {
  if (!lost) return cause;
  return new TroupeError('undetermined', `A write was sent, no reply came, and then: ${messageOf(cause)}`, {
    cause,
  });
};

/** Of somebody who met a lock: if it was carried out, so much the better. */
const CLEARING: Failure = (cause, _lost, { signal, timeout }) => {
  if (signal?.aborted) return signal.reason;
  if (codeOf(cause) !== 'undetermined') return cause;
  return new TroupeError(
    'timeout',
    `What became of a transaction that left a lock could not be found out within ${Math.round(timeout)} ms: ${messageOf(cause)}`,
    { cause },
  );
};

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

function failUnexpected(): never {
  throw unexpected();
}
