import { setup } from 'xstate';

/**
 * A store's own life, as its process lives it (the scheduler's view of a store is another chart).
 *
 * Registered under its name, it starts the peers that are on its disk, then hosts regions. When the disk refuses, or
 * another process has taken its place, nothing may be acknowledged any more: every request is refused until the process
 * is started again.
 */
export interface StoreNodeHost {
  /** Makes a region of the cluster's bootstrap durable and starts its peer. */
  bootstrapRegion(event: unknown): void;
  /** Tells the scheduler that this store can host nothing. */
  refuseBootstrap(event: unknown): void;
  /** A Raft message for a peer that is not here. */
  routeAbsent(event: unknown): void;
  /** A request for a region that is not here. */
  refuseAbsent(event: unknown): void;
  /** Compares all replicas of a region. */
  checkRegion(event: unknown): void;
  /** Tells another store the hash of a replica. */
  answerHash(event: unknown): void;
  /** Tells another store the term of a peer. */
  answerTerm(event: unknown): void;
  /** Changes a region that this store leads. */
  changeRegion(event: unknown): void;
  /** Does what the scheduler wants of a region that this store leads. */
  carryOutOrder(event: unknown): void;
  /** Another store that shares regions is alive. */
  heardStore(event: unknown): void;
  /** What a peer on another store says outside of Raft. */
  heedNotice(event: unknown): void;
  /** Tells the scheduler about this store and the regions that it leads. */
  report(): void;
  /** Leaderships are handed over, and nothing is served any more. */
  stop(): void;
}

/** What other nodes and its own parts tell a store. */
export type StoreNodeEvent =
  /** The peers that are on disk have started. */
  | { readonly type: 'loaded' }
  | { readonly type: 'store.bootstrapRegion' }
  | { readonly type: 'store.checkRegion' }
  | { readonly type: 'store.regionHash' }
  | { readonly type: 'store.peerTerm' }
  | { readonly type: 'store.changeRegion' }
  | { readonly type: 'store.regionOrder' }
  | { readonly type: 'store.alive' }
  | { readonly type: 'store.peerNotice' }
  | { readonly type: 'regionStarted' }
  | { readonly type: 'raft' }
  | { readonly type: 'read' }
  | { readonly type: 'write' }
  | { readonly type: 'reportDue' }
  | { readonly type: 'failed'; readonly error: Error };

/** The chart of a store's own life; `troupe chart store-node` draws it. */
export const storeNodeMachine = setup({
  types: {
    context: {} as { readonly host: StoreNodeHost },
    input: {} as { readonly host: StoreNodeHost },
    events: {} as StoreNodeEvent,
  },
  actions: {
    bootstrapRegion: ({ context, event }) => context.host.bootstrapRegion(event),
    refuseBootstrap: ({ context, event }) => context.host.refuseBootstrap(event),
    routeAbsent: ({ context, event }) => context.host.routeAbsent(event),
    refuseAbsent: ({ context, event }) => context.host.refuseAbsent(event),
    checkRegion: ({ context, event }) => context.host.checkRegion(event),
    answerHash: ({ context, event }) => context.host.answerHash(event),
    answerTerm: ({ context, event }) => context.host.answerTerm(event),
    changeRegion: ({ context, event }) => context.host.changeRegion(event),
    carryOutOrder: ({ context, event }) => context.host.carryOutOrder(event),
    heardStore: ({ context, event }) => context.host.heardStore(event),
    heedNotice: ({ context, event }) => context.host.heedNotice(event),
    report: ({ context }) => context.host.report(),
    stopHost: ({ context }) => context.host.stop(),
  },
}).createMachine({
  id: 'storeNode',
  context: ({ input }) => input,
  initial: 'loading',
  on: {
    'store.bootstrapRegion': { actions: 'bootstrapRegion' },
    // Answered in every state: who asks goes on to the next store.
    'store.checkRegion': { actions: 'checkRegion' },
    'store.changeRegion': { actions: 'changeRegion' },
    read: { actions: 'refuseAbsent' },
    write: { actions: 'refuseAbsent' },
    'store.alive': { actions: 'heardStore' },
    failed: { target: '.failed' },
  },
  states: {
    loading: {
      on: {
        loaded: { target: 'empty' },
        regionStarted: { target: 'serving' },
      },
    },
    /** Known to the scheduler, without a region so far. */
    empty: {
      on: {
        regionStarted: { target: 'serving' },
        raft: { actions: 'routeAbsent' },
        reportDue: { actions: 'report' },
      },
    },
    serving: {
      on: {
        'store.regionHash': { actions: 'answerHash' },
        'store.peerTerm': { actions: 'answerTerm' },
        'store.peerNotice': { actions: 'heedNotice' },
        'store.regionOrder': { actions: 'carryOutOrder' },
        raft: { actions: 'routeAbsent' },
        reportDue: { actions: 'report' },
      },
    },
    failed: {
      entry: 'stopHost',
      on: { 'store.bootstrapRegion': { actions: 'refuseBootstrap' } },
    },
  },
});
