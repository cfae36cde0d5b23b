import { setup } from 'xstate';

/**
 * The desk at which other stores' messages about snapshots arrive (`<store>/snapshots`): it hands each to the transfer
 * that it is about, and makes one when a snapshot is offered.
 */
export interface SnapshotDesk {
  /** A snapshot for a peer of this store. */
  offered(event: unknown): void;
  /** A message about a transfer of this store, either way. */
  route(event: unknown): void;
  /** The connection is gone: what is being sent waits. */
  connectionLost(): void;
  /** It is back: what was being sent goes on. */
  connectionBack(): void;
}

/** Messages of other stores about snapshots, and the state of the connection. */
export type SnapshotDeskEvent =
  | { readonly type: 'snapshot.offer' }
  | { readonly type: 'snapshot.answer' }
  | { readonly type: 'snapshot.credit' }
  | { readonly type: 'snapshot.finish' }
  | { readonly type: 'snapshot.result' }
  | { readonly type: 'snapshot.cancel' }
  | { readonly type: 'connectionLost' }
  | { readonly type: 'connectionBack' };

/** The chart of a store's snapshot desk; `troupe chart snapshots` draws it. */
export const snapshotsMachine = setup({
  types: {
    context: {} as { readonly desk: SnapshotDesk },
    input: {} as { readonly desk: SnapshotDesk },
    events: {} as SnapshotDeskEvent,
  },
  actions: {
    admit: ({ context, event }) => context.desk.offered(event),
    route: ({ context, event }) => context.desk.route(event),
    tellOfLoss: ({ context }) => context.desk.connectionLost(),
    tellOfReturn: ({ context }) => context.desk.connectionBack(),
  },
}).createMachine({
  id: 'snapshots',
  context: ({ input }) => input,
  initial: 'connected',
  on: {
    'snapshot.offer': { actions: 'admit' },
    'snapshot.*': { actions: 'route' },
  },
  states: {
    connected: {
      on: { connectionLost: { target: 'disconnected', actions: 'tellOfLoss' } },
    },
    disconnected: {
      on: { connectionBack: { target: 'connected', actions: 'tellOfReturn' } },
    },
  },
});
