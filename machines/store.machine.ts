import { assign, setup } from 'xstate';

/**
 * A store as the scheduler sees it (PD's store states).
 *
 * `up`, `disconnected` and `down` follow from heartbeats and the clock, both of which are events: the chart reads no
 * time itself. `offline` (its peers are to leave) and `tombstone` (it may never come back) are decisions that the
 * scheduler replicates; a heartbeat does not change them.
 */
export interface StoreInput {
  /** Milliseconds of the scheduler's clock when it began to look; silence is counted from here. */
  readonly now: number;
  /** Milliseconds without a heartbeat after which leaders are no longer given to the store. */
  readonly disconnectedAfter: number;
  /** The replicated decision about this store. */
  readonly decision: StoreDecision;
}

/** What was decided about a store, whether or not it is heard of: it serves, is drained, or is gone for good. */
export type StoreDecision = 'serving' | 'offline' | 'tombstone';

/** What the scheduler hears of a store, or decides; `now` is milliseconds of its clock. */
export type StoreEvent =
  | { readonly type: 'heartbeat'; readonly now: number }
  /** `downAfter`: milliseconds without a heartbeat after which its peers are to be replaced. */
  | { readonly type: 'clock'; readonly now: number; readonly downAfter: number }
  | { readonly type: 'takenOffline' }
  | { readonly type: 'broughtBack'; readonly now: number }
  | { readonly type: 'buried' };

/** What the scheduler remembers of a store. */
export interface StoreContext extends StoreInput {
  readonly lastHeartbeat: number;
}

/**
 * A store as the scheduler sees it; `disconnected` is silent, `down` silent for so long that its replicas are
 * replaced.
 */
export type StoreState = 'up' | 'disconnected' | 'down' | 'offline' | 'tombstone';

/** The chart of a store at the scheduler; `troupe chart store` draws it. */
export const storeMachine = setup({
  types: {
    context: {} as StoreContext,
    input: {} as StoreInput,
    events: {} as StoreEvent,
  },
  guards: {
    isOffline: ({ context }) => context.decision === 'offline',
    isTombstone: ({ context }) => context.decision === 'tombstone',
    isSilent: ({ context, event }) =>
      event.type === 'clock' && event.now - context.lastHeartbeat > context.disconnectedAfter,
    isLost: ({ context, event }) =>
      event.type === 'clock' && event.now - context.lastHeartbeat > event.downAfter,
  },
  actions: {
    noteHeartbeat: assign({
      lastHeartbeat: ({ context, event }) =>
        event.type === 'heartbeat' || event.type === 'broughtBack' ? event.now : context.lastHeartbeat,
    }),
  },
}).createMachine({
  id: 'store',
  context: ({ input }) => ({ ...input, lastHeartbeat: input.now }),
  initial: 'known',
  states: {
    known: {
      always: [
        { guard: 'isTombstone', target: 'tombstone' },
        { guard: 'isOffline', target: 'offline' },
        { target: 'disconnected' },
      ],
    },
    up: {
      on: {
        heartbeat: { actions: 'noteHeartbeat' },
        clock: [
          { guard: 'isLost', target: 'down' },
          { guard: 'isSilent', target: 'disconnected' },
        ],
        takenOffline: 'offline',
        buried: 'tombstone',
      },
    },
    disconnected: {
      on: {
        heartbeat: { target: 'up', actions: 'noteHeartbeat' },
        clock: { guard: 'isLost', target: 'down' },
        takenOffline: 'offline',
        buried: 'tombstone',
      },
    },
    down: {
      on: {
        heartbeat: { target: 'up', actions: 'noteHeartbeat' },
        takenOffline: 'offline',
        buried: 'tombstone',
      },
    },
    offline: {
      on: {
        heartbeat: { actions: 'noteHeartbeat' },
        broughtBack: { target: 'up', actions: 'noteHeartbeat' },
        buried: 'tombstone',
      },
    },
    tombstone: {},
  },
});
