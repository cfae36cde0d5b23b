import { setup } from 'xstate';

/**
 * A member of the scheduler's group: what it may answer, and what it has to do, in each state.
 *
 * Requests are the events below `pd.`. Only the leader answers them, once everything that earlier leaders replicated
 * is applied; before the cluster has its first region only the requests that lead there are answered.
 */
export interface SchedulerDuties {
  /** Answers a request. */
  answer(request: unknown): void;
  /** Tells the caller why not; it tries elsewhere or later. */
  refuse(request: unknown, reason: SchedulerRefusal): void;
  /** A Raft message from another member. */
  stepRaft(event: unknown): void;
  /** Leadership was won: sends `prepared` when the state is complete and the cluster has its identity. */
  prepare(): void;
  /** Asks the chosen stores for the first region until all have it; sends `bootstrapped` then. */
  bootstrap(): void;
  /** Every store has the first region: begins to collect what leaders tell of their regions, and then to place them. */
  startPlacement(): void;
  /** Leadership is lost: drops what only a leader knows. */
  resign(): void;
}

/** Why a scheduler does not answer: it has only begun, another leads, there is no region yet, or it has stopped. */
export type SchedulerRefusal = 'starting' | 'not-leader' | 'not-bootstrapped' | 'stopped';

/** How far the cluster has come, as the replicated state says. */
export type ClusterPhase = 'collecting' | 'bootstrapping' | 'serving';

/** Requests (`pd.` and their name), messages of the group, and what the scheduler's duties tell. */
export type SchedulerEvent =
  | { readonly type: `pd.${string}` }
  | { readonly type: 'raft' }
  | { readonly type: 'elected' }
  | { readonly type: 'deposed' }
  | { readonly type: 'prepared'; readonly phase: ClusterPhase }
  /** Enough stores have registered; the first region is written down. */
  | { readonly type: 'storesChosen' }
  /** Every chosen store has the first region. */
  | { readonly type: 'bootstrapped' }
  /** Enough regions have been heard of to judge where replicas are missing. */
  | { readonly type: 'regionsCollected' }
  /** Somebody has halted placement, or lets it go on. */
  | { readonly type: 'halted' }
  | { readonly type: 'resumed' }
  /** The disk refused or an invariant broke. */
  | { readonly type: 'broke'; readonly error: Error }
  | { readonly type: 'stop' };

/** What a scheduler gives its chart. */
export interface SchedulerInput {
  readonly duties: SchedulerDuties;
}

/** The chart of a member of the scheduler's group; `troupe chart scheduler-member` draws it. */
export const schedulerMachine = setup({
  types: {
    context: {} as SchedulerInput,
    input: {} as SchedulerInput,
    events: {} as SchedulerEvent,
  },
  guards: {
    isCollecting: ({ event }) => event.type === 'prepared' && event.phase === 'collecting',
    isBootstrapping: ({ event }) => event.type === 'prepared' && event.phase === 'bootstrapping',
  },
  actions: {
    stepRaft: ({ context, event }) => context.duties.stepRaft(event),
    answer: ({ context, event }) => context.duties.answer(event),
    refuseStarting: ({ context, event }) => context.duties.refuse(event, 'starting'),
    refuseNotLeader: ({ context, event }) => context.duties.refuse(event, 'not-leader'),
    refuseNotBootstrapped: ({ context, event }) => context.duties.refuse(event, 'not-bootstrapped'),
    refuseStopped: ({ context, event }) => context.duties.refuse(event, 'stopped'),
    prepare: ({ context }) => context.duties.prepare(),
    bootstrap: ({ context }) => context.duties.bootstrap(),
    startPlacement: ({ context }) => context.duties.startPlacement(),
    resign: ({ context }) => context.duties.resign(),
  },
}).createMachine({
  id: 'scheduler',
  context: ({ input }) => input,
  initial: 'following',
  on: {
    raft: { actions: 'stepRaft' },
    broke: { target: '.stopped' },
    stop: { target: '.stopped' },
  },
  states: {
    following: {
      on: {
        elected: 'leading',
        'pd.getMembers': { actions: 'answer' },
        'pd.*': { actions: 'refuseNotLeader' },
      },
    },
    leading: {
      initial: 'preparing',
      exit: 'resign',
      on: {
        deposed: 'following',
        'pd.*': { actions: 'answer' },
      },
      states: {
        preparing: {
          entry: 'prepare',
          on: {
            prepared: [
              { guard: 'isCollecting', target: 'collectingStores' },
              { guard: 'isBootstrapping', target: 'bootstrapping' },
              { target: 'serving' },
            ],
            'pd.getMembers': { actions: 'answer' },
            'pd.*': { actions: 'refuseStarting' },
          },
        },
        collectingStores: {
          on: {
            storesChosen: 'bootstrapping',
            'pd.getRegion': { actions: 'refuseNotBootstrapped' },
            'pd.getRegionById': { actions: 'refuseNotBootstrapped' },
            'pd.scanRegions': { actions: 'refuseNotBootstrapped' },
            'pd.regionHeartbeat': { actions: 'refuseNotBootstrapped' },
          },
        },
        bootstrapping: {
          entry: 'bootstrap',
          on: { bootstrapped: 'serving' },
        },
        serving: {
          initial: 'collecting',
          entry: 'startPlacement',
          states: {
            /** Not enough is known of the regions to move any. */
            collecting: { on: { regionsCollected: 'scheduling' } },
            /** Checkers and schedulers are at work. */
            scheduling: { on: { halted: 'paused' } },
            paused: { on: { resumed: 'scheduling' } },
          },
        },
      },
    },
    stopped: {
      on: { raft: {}, 'pd.*': { actions: 'refuseStopped' } },
    },
  },
});
