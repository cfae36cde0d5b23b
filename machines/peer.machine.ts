import { setup } from 'xstate';

/**
 * A peer: one replica of one region on one store. The chart says what a message or a request may do to it; the
 * replica that is handed in does it.
 *
 * An uninitialised peer knows its ids and has no state (its store was repaired): it takes Raft messages, which bring its
 * snapshot, and neither serves nor campaigns. A failed one has met a broken invariant: it refuses everybody until the store restarts.
 */
export interface PeerReplica<Raft, Request> {
  stepRaft(message: Raft): void;
  serveRead(request: Request): void;
  proposeWrite(request: Request): void;
  /** Answers a request that this state does not allow; the caller may try elsewhere. */
  refuse(request: Request, reason: PeerRefusal): void;
  /** Entries that the log has left behind were removed from the disk, or could not be. */
  noteLogDeletion(deletion: { readonly through: number; readonly error?: Error }): void;
  stop(): void;
}

export type PeerRefusal = 'uninitialised' | 'failed';

export type PeerEvent =
  | { readonly type: 'raft' }
  | { readonly type: 'read' }
  | { readonly type: 'write' }
  /** A snapshot was taken in: its data is about to take the place of what is here. */
  | { readonly type: 'snapshotAccepted' }
  /** The snapshot's data is in place. */
  | { readonly type: 'snapshotInstalled' }
  | { readonly type: 'logDeleted'; readonly through: number; readonly error?: Error }
  /** An invariant broke, or a command could not be applied. */
  | { readonly type: 'broke'; readonly error: Error };

type Replica = PeerReplica<unknown, unknown>;

export interface PeerInput {
  readonly replica: Replica;
  readonly initialised: boolean;
}

export const peerMachine = setup({
  types: {
    context: {} as PeerInput,
    input: {} as PeerInput,
    events: {} as PeerEvent,
  },
  guards: {
    isInitialised: ({ context }) => context.initialised,
  },
  actions: {
    stepRaft: ({ context, event }) => context.replica.stepRaft(event),
    serveRead: ({ context, event }) => context.replica.serveRead(event),
    proposeWrite: ({ context, event }) => context.replica.proposeWrite(event),
    noteLogDeletion: ({ context, event }) => {
      if (event.type === 'logDeleted') context.replica.noteLogDeletion(event);
    },
    refuseUninitialised: ({ context, event }) => context.replica.refuse(event, 'uninitialised'),
    refuseFailed: ({ context, event }) => context.replica.refuse(event, 'failed'),
    stopReplica: ({ context }) => context.replica.stop(),
  },
}).createMachine({
  id: 'peer',
  context: ({ input }) => input,
  initial: 'starting',
  on: {
    broke: { target: '.failed' },
  },
  states: {
    starting: {
      always: [{ guard: 'isInitialised', target: 'active' }, { target: 'uninitialised' }],
    },
    uninitialised: {
      on: {
        snapshotAccepted: { target: 'active.applyingSnapshot' },
        raft: { actions: 'stepRaft' },
        read: { actions: 'refuseUninitialised' },
        write: { actions: 'refuseUninitialised' },
      },
    },
    active: {
      initial: 'normal',
      on: {
        raft: { actions: 'stepRaft' },
        logDeleted: { actions: 'noteLogDeletion' },
      },
      states: {
        normal: {
          on: {
            read: { actions: 'serveRead' },
            write: { actions: 'proposeWrite' },
            snapshotAccepted: { target: 'applyingSnapshot' },
          },
        },
        /** Its data is being replaced: it takes part in the group, and serves nobody. */
        applyingSnapshot: {
          on: {
            snapshotInstalled: { target: 'normal' },
            read: { actions: 'refuseUninitialised' },
            write: { actions: 'refuseUninitialised' },
          },
        },
      },
    },
    failed: {
      entry: 'stopReplica',
      on: {
        read: { actions: 'refuseFailed' },
        write: { actions: 'refuseFailed' },
      },
    },
  },
});
