import { assign, setup } from 'xstate';

/**
 * The collector of old versions, at the scheduler that leads: one round after the other, each in the order that keeps
 * readers safe. A version is removed only below the GC safe point; that is raised only when no lock of an earlier
 * transaction is left; locks are looked for only when no store admits new ones.
 *
 * The clock is an event. What a round asks for is done by its duties, which answer with events.
 */
export interface GcDuties {
  /** A round begins. */
  beginRound(): void;
  /** Raises the transaction safe point as far as may be; sends `raised`. */
  raiseTransactionSafePoint(): void;
  /** Resolves every lock of transactions that began at or before the safe point; sends `locksResolved`. */
  resolveLocks(): void;
  /** Raises the GC safe point to the transaction safe point; sends `collected`. */
  raiseGcSafePoint(): void;
  /** The round is over, one way or the other: what is still under way for it stops. */
  endRound(): void;
}

/** What the leading scheduler gives the chart of its collector. */
export interface GcInput {
  readonly duties: GcDuties;
  /** Milliseconds before a round that failed is tried again; doubled with each failure in a row, up to the second. */
  readonly backoff: readonly [first: number, longest: number];
}

/** What the clock, an administrator and the duties tell the chart of the collector. */
export type GcEvent =
  | {
      readonly type: 'clock';
      /** Milliseconds of the scheduler's clock. */
      readonly now: number;
      readonly enabled: boolean;
      /** Milliseconds between the beginnings of two rounds. */
      readonly interval: number;
      /** The safe points have fallen behind what they may be. */
      readonly overdue: boolean;
      /** No store admits a transaction below the transaction safe point of the round any more. */
      readonly storesKnow: boolean;
    }
  /** Somebody wants a round now. */
  | { readonly type: 'runNow' }
  /** `ahead`: the transaction safe point is above the GC safe point. */
  | { readonly type: 'raised'; readonly ahead: boolean }
  | { readonly type: 'locksResolved' }
  | { readonly type: 'collected' }
  | { readonly type: 'failed' };

/** What the collector remembers: times are milliseconds of the scheduler's clock. */
export interface GcContext extends GcInput {
  readonly now: number;
  readonly beganAt: number;
  readonly failedAt: number;
  /** Rounds in a row that failed. */
  readonly failures: number;
}

/** The chart of the collector of old versions; `troupe chart gc` draws it. */
export const gcMachine = setup({
  types: { context: {} as GcContext, input: {} as GcInput, events: {} as GcEvent },
  guards: {
    isEnabled: ({ event }) => event.type === 'clock' && event.enabled,
    isDisabled: ({ event }) => event.type === 'clock' && !event.enabled,
    isDue: ({ context, event }) =>
      event.type === 'clock' && event.overdue && event.now - context.beganAt >= event.interval,
    isRested: ({ context: { backoff, failures, failedAt }, event }) =>
      event.type === 'clock' &&
      event.now - failedAt >= Math.min(backoff[0] * 2 ** Math.min(failures - 1, 30), backoff[1]),
    storesKnow: ({ event }) => event.type === 'clock' && event.enabled && event.storesKnow,
    isAhead: ({ event }) => event.type === 'raised' && event.ahead,
  },
  actions: {
    noteTime: assign({ now: ({ context, event }) => (event.type === 'clock' ? event.now : context.now) }),
    noteBegin: assign({ beganAt: ({ context }) => context.now }),
    noteFailure: assign({
      failedAt: ({ context }) => context.now,
      failures: ({ context }) => context.failures + 1,
    }),
    noteSuccess: assign({ failures: 0 }),
    beginRound: ({ context }) => context.duties.beginRound(),
    raiseTransactionSafePoint: ({ context }) => context.duties.raiseTransactionSafePoint(),
    resolveLocks: ({ context }) => context.duties.resolveLocks(),
    raiseGcSafePoint: ({ context }) => context.duties.raiseGcSafePoint(),
    endRound: ({ context }) => context.duties.endRound(),
  },
}).createMachine({
  id: 'gc',
  context: ({ input }) => ({
    ...input,
    now: Number.NEGATIVE_INFINITY,
    beganAt: Number.NEGATIVE_INFINITY,
    failedAt: Number.NEGATIVE_INFINITY,
    failures: 0,
  }),
  initial: 'idle',
  states: {
    idle: {
      on: {
        clock: [
          { guard: 'isDisabled', target: 'paused', actions: 'noteTime' },
          { guard: 'isDue', target: 'collecting', actions: ['noteTime', 'noteBegin'] },
          { actions: 'noteTime' },
        ],
        runNow: { target: 'collecting', actions: 'noteBegin' },
      },
    },
    collecting: {
      initial: 'raisingTransactionSafePoint',
      entry: 'beginRound',
      exit: 'endRound',
      on: {
        clock: [{ guard: 'isDisabled', target: 'paused', actions: 'noteTime' }, { actions: 'noteTime' }],
        failed: { target: 'failed', actions: 'noteFailure' },
      },
      states: {
        raisingTransactionSafePoint: {
          entry: 'raiseTransactionSafePoint',
          on: {
            raised: [
              { guard: 'isAhead', target: 'awaitingStores' },
              // Somebody holds it back.
              { target: '#gc.idle', actions: 'noteSuccess' },
            ],
          },
        },
        awaitingStores: {
          on: {
            clock: { guard: 'storesKnow', target: 'resolvingLocks', actions: 'noteTime' },
          },
        },
        resolvingLocks: {
          entry: 'resolveLocks',
          on: { locksResolved: 'raisingGcSafePoint' },
        },
        raisingGcSafePoint: {
          entry: 'raiseGcSafePoint',
          on: { collected: { target: '#gc.idle', actions: 'noteSuccess' } },
        },
      },
    },
    failed: {
      on: {
        clock: [
          { guard: 'isDisabled', target: 'paused', actions: 'noteTime' },
          { guard: 'isRested', target: 'collecting', actions: ['noteTime', 'noteBegin'] },
          { actions: 'noteTime' },
        ],
        runNow: { target: 'collecting', actions: 'noteBegin' },
      },
    },
    /** Somebody has switched it off; the safe points stay where they are. */
    paused: {
      on: {
        clock: [{ guard: 'isEnabled', target: 'idle', actions: 'noteTime' }, { actions: 'noteTime' }],
      },
    },
  },
});

/** A state as people see it: `idle`, `paused`, `failed`, or what a round is at. */
export type GcState =
  | 'idle'
  | 'paused'
  | 'failed'
  | 'raisingTransactionSafePoint'
  | 'awaitingStores'
  | 'resolvingLocks'
  | 'raisingGcSafePoint';
