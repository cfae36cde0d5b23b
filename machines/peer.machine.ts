import { setup } from 'xstate';

/**
 * A peer: one replica of one region on one store. The chart says what a message or a request may do to it; the
 * replica that is handed in does it.
 *
 * An uninitialised peer knows its ids and not its region: it was made by a message of its group, or its store was repaired.
 * It takes Raft messages, which bring its snapshot, and neither serves nor campaigns. A peer whose region is merged into
 * another goes on in its group, so that the merge or its rollback can be decided, and serves nobody. One that was removed
 * is gone when its end is durable. A failed one has met a broken invariant: it refuses everybody until the store restarts.
 */
export interface PeerReplica<Raft, Request> {
  /** A message of its group, for its Raft core. */
  stepRaft(message: Raft): void;
  /** A request that reads. */
  serveRead(request: Request): void;
  /** A request that writes: it goes through the log. */
  proposeWrite(request: Request): void;
  /** Membership, leadership or range of the region itself. */
  changeRegion(request: unknown): void;
  /** Answers a request that this state does not allow; the caller may try elsewhere. */
  refuse(request: Request, reason: PeerRefusal): void;
  /** Answers a change of the region that this state does not allow. */
  refuseChange(request: unknown, reason: PeerRefusal): void;
  /** Entries that the log has left behind were removed from the disk, or could not be. */
  noteLogDeletion(deletion: { readonly through: number; readonly error?: Error }): void;
  /** The peer takes part in nothing any more: what waits for it is answered. */
  stop(): void;
}

/** Why a peer serves nobody: its region is not known yet, is being merged, or is gone here; or an invariant broke. */
export type PeerRefusal = 'uninitialised' | 'merging' | 'removed' | 'failed';

/** What arrives for a peer, and what its replica tells of itself. */
export type PeerEvent =
  | { readonly type: 'raft' }
  | { readonly type: 'read' }
  | { readonly type: 'write' }
  | { readonly type: 'store.changeRegion' }
  /** A snapshot was taken in: its data is about to take the place of what is here. */
  | { readonly type: 'snapshotAccepted' }
  /** The snapshot's data is in place. */
  | { readonly type: 'snapshotInstalled' }
  /** A split is in the log, and not applied yet; applied, or lost with the leadership. */
  | { readonly type: 'splitProposed' }
  | { readonly type: 'splitEnded' }
  /** The region is to be merged into a neighbour; or is not, after all. */
  | { readonly type: 'mergePrepared' }
  | { readonly type: 'mergeRolledBack' }
  /** The peer is no member any more, or its region was merged. */
  | { readonly type: 'removed' }
  /** Nothing of it is left on disk but its tombstone. */
  | { readonly type: 'buried' }
  | { readonly type: 'logDeleted'; readonly through: number; readonly error?: Error }
  /** An invariant broke, or a command could not be applied. */
  | { readonly type: 'broke'; readonly error: Error };

/** What a store gives the chart of a peer. */
export interface PeerInput {
  readonly replica: PeerReplica<unknown, unknown>;
  readonly initialised: boolean;
  /** The disk says that the region is to be merged. */
  readonly merging?: boolean;
}

/** The chart of a peer; `troupe chart peer` draws it. */
export const peerMachine = setup({
  types: {
    context: {} as PeerInput,
    input: {} as PeerInput,
    events: {} as PeerEvent,
  },
  guards: {
    isInitialised: ({ context }) => context.initialised,
    isMerging: ({ context }) => context.merging === true,
  },
  actions: {
    stepRaft: ({ context, event }) => context.replica.stepRaft(event),
    serveRead: ({ context, event }) => context.replica.serveRead(event),
    proposeWrite: ({ context, event }) => context.replica.proposeWrite(event),
    changeRegion: ({ context, event }) => context.replica.changeRegion(event),
    noteLogDeletion: ({ context, event }) => {
      if (event.type === 'logDeleted') context.replica.noteLogDeletion(event);
    },
    refuseUninitialised: ({ context, event }) => context.replica.refuse(event, 'uninitialised'),
    refuseMerging: ({ context, event }) => context.replica.refuse(event, 'merging'),
    refuseRemoved: ({ context, event }) => context.replica.refuse(event, 'removed'),
    refuseFailed: ({ context, event }) => context.replica.refuse(event, 'failed'),
    refuseChangeUninitialised: ({ context, event }) => context.replica.refuseChange(event, 'uninitialised'),
    refuseChangeRemoved: ({ context, event }) => context.replica.refuseChange(event, 'removed'),
    refuseChangeFailed: ({ context, event }) => context.replica.refuseChange(event, 'failed'),
    stopReplica: ({ context }) => context.replica.stop(),
  },
}).createMachine({
  id: 'peer',
  context: ({ input }) => input,
  initial: 'starting',
  on: {
    broke: { target: '.failed' },
    removed: { target: '.removing' },
  },
  states: {
    starting: {
      always: [
        { guard: 'isMerging', target: 'active.merging' },
        { guard: 'isInitialised', target: 'active' },
        { target: 'uninitialised' },
      ],
    },
    uninitialised: {
      on: {
        snapshotAccepted: { target: 'active.applyingSnapshot' },
        raft: { actions: 'stepRaft' },
        read: { actions: 'refuseUninitialised' },
        write: { actions: 'refuseUninitialised' },
        'store.changeRegion': { actions: 'refuseChangeUninitialised' },
      },
    },
    active: {
      initial: 'normal',
      on: {
        raft: { actions: 'stepRaft' },
        logDeleted: { actions: 'noteLogDeletion' },
        'store.changeRegion': { actions: 'changeRegion' },
        snapshotAccepted: { target: '.applyingSnapshot' },
        mergePrepared: { target: '.merging' },
      },
      states: {
        normal: {
          on: {
            read: { actions: 'serveRead' },
            write: { actions: 'proposeWrite' },
            splitProposed: { target: 'splitting' },
          },
        },
        /** This leader has proposed a split: what is asked meanwhile is answered by the regions that come of it. */
        splitting: {
          on: {
            read: { actions: 'serveRead' },
            write: { actions: 'proposeWrite' },
            splitEnded: { target: 'normal' },
          },
        },
        /** Its data is being replaced: it takes part in the group, and serves nobody. */
        applyingSnapshot: {
          on: {
            snapshotInstalled: { target: 'normal' },
            read: { actions: 'refuseUninitialised' },
            write: { actions: 'refuseUninitialised' },
            'store.changeRegion': { actions: 'refuseChangeUninitialised' },
          },
        },
        /** Its keys are to become the neighbour's: it takes nothing but a rollback, until it is buried. */
        merging: {
          on: {
            mergeRolledBack: { target: 'normal' },
            read: { actions: 'refuseMerging' },
            write: { actions: 'refuseMerging' },
          },
        },
      },
    },
    removing: {
      entry: 'stopReplica',
      on: {
        buried: { target: 'tombstone' },
        read: { actions: 'refuseRemoved' },
        write: { actions: 'refuseRemoved' },
        'store.changeRegion': { actions: 'refuseChangeRemoved' },
      },
    },
    tombstone: { type: 'final' },
    failed: {
      entry: 'stopReplica',
      on: {
        read: { actions: 'refuseFailed' },
        write: { actions: 'refuseFailed' },
        'store.changeRegion': { actions: 'refuseChangeFailed' },
      },
    },
  },
});
