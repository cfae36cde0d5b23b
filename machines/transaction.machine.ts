import { assign, setup } from 'xstate';

/**
 * A transaction as its client lives it: Percolator's two phases, and TiKV's shorter ways.
 *
 * Reads and writes are gathered while it is active. To commit, it locks every key that it writes (prewrite), takes a
 * timestamp, and commits the primary: from then on it is committed, whoever dies, and the other keys follow in the background.
 * An async commit is committed as soon as the last key is locked; a one-phase commit with the one prewrite that it consists of. A
 * store may refuse either, and the transaction goes on as one of two phases.
 *
 * Who knows neither that it is committed nor that it is not says so: from `undetermined` no arrow leads anywhere.
 * Pessimistic locks, when they come, are taken while it is active; the heartbeat then begins there.
 */
export interface TransactionHost {
  /** Finds out where the keys lie, and so which way to commit: `prepared` or `failed` follows. */
  prepare(): void;
  /** Locks every key: of the events of `prewriting`, one that ends it follows. */
  prewrite(way: CommitWay): void;
  /** `timestampTaken` or `failed` follows. */
  takeCommitTimestamp(): void;
  /**
   * Sends the commit of the primary once: `primaryCommitted`, `commitTsExpired`, `refused`, `failed` or `lost` follows.
   * @param inDoubt it may be committed already: after a while, and `gaveUp` when the time is over
   */
  commitPrimary(inDoubt: boolean): void;
  /** In the background; `secondariesCommitted` follows. */
  commitSecondaries(): void;
  /** Removes the locks, in the background; `locksRemoved` follows. */
  removeLocks(): void;
  /** Sends `heartbeatDue` when half of the locks' time is over. */
  armHeartbeat(): void;
  /** No heartbeat is wanted any more. */
  disarmHeartbeat(): void;
  /** Tells the primary's store that the client is alive. */
  keepAlive(): void;
  /** What its caller is told, once. */
  ended(outcome: TransactionOutcome): void;
}

/** How a transaction is committed: with its only prewrite, as soon as its last key is locked, or by its primary. */
export type CommitWay = 'onePhase' | 'asyncCommit' | 'twoPhase';
/** What a caller is told; `undetermined`: committed as a whole or not at all, and nobody could say which in time. */
export type TransactionOutcome = 'committed' | 'rolledBack' | 'undetermined';

/** What the caller wants, and what the host tells of what it was asked to do. */
export type TransactionEvent =
  | { readonly type: 'commit' }
  /** The caller wants nothing of it. */
  | { readonly type: 'rollback' }
  /** `nothing` is written. */
  | { readonly type: 'prepared'; readonly way: CommitWay | 'nothing' }
  /** A store does not commit in one phase, or the keys lie in several regions by now. */
  | { readonly type: 'onePhaseRefused'; readonly asyncCommit: boolean }
  | { readonly type: 'asyncCommitRefused' }
  /** Every key is locked; or was found to be as it should be, where none is written. */
  | { readonly type: 'prewritten' }
  /** A store says that it is committed: in one phase, or by somebody who met its locks. */
  | { readonly type: 'foundCommitted' }
  | { readonly type: 'timestampTaken' }
  /** A read has pushed the primary's least commit timestamp above the one that was taken. */
  | { readonly type: 'commitTsExpired' }
  | { readonly type: 'primaryCommitted' }
  /** A store says that it can never be committed. */
  | { readonly type: 'refused' }
  /** It could not be done, and nothing that could have committed it was sent. */
  | { readonly type: 'failed' }
  /** What would have committed it was sent, and no reply came. */
  | { readonly type: 'lost' }
  /** The time for finding out is over. */
  | { readonly type: 'gaveUp' }
  | { readonly type: 'secondariesCommitted' }
  | { readonly type: 'locksRemoved' }
  | { readonly type: 'heartbeatDue' };

/** What a client gives the chart of a transaction. */
export interface TransactionInput {
  readonly host: TransactionHost;
  /** Commit timestamps that it takes at most: readers could keep it from its end for ever. */
  readonly maxCommitTimestamps: number;
}

/** How far a transaction is. */
export interface TransactionContext extends TransactionInput {
  readonly commitTimestamps: number;
}

/** The chart of a transaction; `troupe chart transaction` draws it. */
export const transactionMachine = setup({
  types: {
    context: {} as TransactionContext,
    input: {} as TransactionInput,
    events: {} as TransactionEvent,
  },
  guards: {
    writesNothing: ({ event }) => event.type === 'prepared' && event.way === 'nothing',
    isOnePhase: ({ event }) => event.type === 'prepared' && event.way === 'onePhase',
    isAsyncCommit: ({ event }) => event.type === 'prepared' && event.way === 'asyncCommit',
    keepsAsyncCommit: ({ event }) => event.type === 'onePhaseRefused' && event.asyncCommit,
    mayTakeAnother: ({ context }) => context.commitTimestamps < context.maxCommitTimestamps,
  },
  actions: {
    prepare: ({ context }) => context.host.prepare(),
    prewrite: ({ context, event }) => {
      if (event.type === 'prepared' && event.way !== 'nothing') context.host.prewrite(event.way);
    },
    takeCommitTimestamp: ({ context }) => context.host.takeCommitTimestamp(),
    countCommitTimestamp: assign({ commitTimestamps: ({ context }) => context.commitTimestamps + 1 }),
    commitPrimary: ({ context }, { inDoubt }: { inDoubt: boolean }) => context.host.commitPrimary(inDoubt),
    commitSecondaries: ({ context }) => context.host.commitSecondaries(),
    removeLocks: ({ context }) => context.host.removeLocks(),
    armHeartbeat: ({ context }) => context.host.armHeartbeat(),
    disarmHeartbeat: ({ context }) => context.host.disarmHeartbeat(),
    keepAlive: ({ context }) => context.host.keepAlive(),
    end: ({ context }, { outcome }: { outcome: TransactionOutcome }) => context.host.ended(outcome),
  },
}).createMachine({
  id: 'transaction',
  context: ({ input }) => ({ ...input, commitTimestamps: 0 }),
  initial: 'active',
  states: {
    active: {
      on: {
        commit: { target: 'underWay' },
        rollback: { target: 'rolledBack', actions: { type: 'end', params: { outcome: 'rolledBack' } } },
      },
    },
    underWay: {
      initial: 'preparing',
      exit: 'disarmHeartbeat',
      on: {
        heartbeatDue: { actions: 'keepAlive' },
        refused: { target: 'rollingBack' },
        failed: { target: 'rollingBack' },
      },
      states: {
        preparing: {
          entry: 'prepare',
          on: {
            prepared: [
              { guard: 'writesNothing', target: '#transaction.committed.finished' },
              { guard: 'isOnePhase', target: 'prewriting.onePhase' },
              { guard: 'isAsyncCommit', target: 'prewriting.asyncCommit' },
              { target: 'prewriting.twoPhase' },
            ],
          },
        },
        prewriting: {
          entry: ['prewrite', 'armHeartbeat'],
          // Which one is said by whoever comes here.
          initial: 'twoPhase',
          states: {
            /** The only prewrite commits it: while its fate is unknown, so is the transaction's. */
            onePhase: {
              on: {
                foundCommitted: { target: '#transaction.committed' },
                onePhaseRefused: [
                  { guard: 'keepsAsyncCommit', target: 'asyncCommit' },
                  { target: 'twoPhase' },
                ],
                gaveUp: { target: '#transaction.undetermined' },
              },
            },
            /** Committed with the last lock, whoever is told of it. */
            asyncCommit: {
              on: {
                prewritten: { target: '#transaction.committed' },
                foundCommitted: { target: '#transaction.committed' },
                asyncCommitRefused: { target: 'twoPhase' },
                gaveUp: { target: '#transaction.undetermined' },
              },
            },
            /** Locks alone commit nothing. */
            twoPhase: {
              on: {
                prewritten: { target: '#transaction.underWay.takingCommitTimestamp' },
                gaveUp: { target: '#transaction.rollingBack' },
              },
            },
          },
        },
        /** After the last lock: a read above it meets the lock or sees what is committed below. */
        takingCommitTimestamp: {
          entry: ['countCommitTimestamp', 'takeCommitTimestamp'],
          on: { timestampTaken: { target: 'committingPrimary' } },
        },
        committingPrimary: {
          initial: 'sent',
          on: {
            primaryCommitted: { target: '#transaction.committed' },
            // Its lock stands, and will never be committed at that timestamp.
            commitTsExpired: [
              { guard: 'mayTakeAnother', target: 'takingCommitTimestamp' },
              { target: '#transaction.rollingBack' },
            ],
          },
          states: {
            sent: {
              entry: { type: 'commitPrimary', params: { inDoubt: false } },
              on: { lost: { target: 'inDoubt' } },
            },
            /** It may be committed. The commit is sent again, since any reply to it settles that. */
            inDoubt: {
              entry: { type: 'commitPrimary', params: { inDoubt: true } },
              on: {
                lost: { target: 'inDoubt', reenter: true },
                failed: { target: 'inDoubt', reenter: true },
                gaveUp: { target: '#transaction.undetermined' },
              },
            },
          },
        },
      },
    },
    committed: {
      entry: { type: 'end', params: { outcome: 'committed' } },
      initial: 'finishingSecondaries',
      states: {
        finishingSecondaries: {
          entry: 'commitSecondaries',
          on: { secondariesCommitted: { target: 'finished' } },
        },
        finished: { type: 'final' },
      },
    },
    rollingBack: {
      entry: [{ type: 'end', params: { outcome: 'rolledBack' } }, 'removeLocks'],
      on: { locksRemoved: { target: 'rolledBack' } },
    },
    rolledBack: { type: 'final' },
    undetermined: { type: 'final', entry: { type: 'end', params: { outcome: 'undetermined' } } },
  },
});
