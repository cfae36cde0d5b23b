import { setup } from 'xstate';

/**
 * The life of a deployed actor in its host's memory, from the moment that somebody needs it until it may be forgotten: what
 * is left then is on the disk. docs/decisions/deployed-actors.md is the protocol around it.
 *
 * The user's own machine runs inside `running`; this chart decides when it does. Its duties answer with events.
 */
export interface DeployedActorDuties {
  /** Reads state, ids and effects from the disk; sends `restored`. */
  restore(): void;
  /** Starts the user's machine from what was read, and hands over the events that have waited. */
  startMachine(): void;
  /** Stops the user's machine after what it has begun; sends `released` when its last step is durable. */
  stopMachine(): void;
  /** Answers what waits: the machine has come to its end and takes no events. */
  refuseEvents(): void;
  /** Answers what waits, and stops the machine: it fails whenever it is tried. */
  giveUp(): void;
  /** Nothing of it needs to be in memory any more. */
  forget(): void;
}

/** What the host gives the chart of one deployed actor. */
export interface DeployedActorInput {
  readonly duties: DeployedActorDuties;
}

/** What its duties and its host tell the chart of a deployed actor. */
export type DeployedActorEvent =
  /** The state is read; `finished`: the machine had come to its end before. */
  | { readonly type: 'restored'; readonly finished: boolean }
  /** The machine threw, or its state does not serialise. */
  | { readonly type: 'failed' }
  /** It has failed too often in a row, without an event to blame. */
  | { readonly type: 'gaveUp' }
  /** An event has come for one that stands as failed. */
  | { readonly type: 'retry' }
  /** The backoff is over, and the machine goes on from its last step. */
  | { readonly type: 'restarted' }
  /** The machine has reached its final state. */
  | { readonly type: 'finished' }
  /** Nobody has needed it for a while, and it has nothing to do. */
  | { readonly type: 'idle' }
  /** Its last step is durable; `wanted`: events have come meanwhile. */
  | { readonly type: 'released'; readonly wanted: boolean }
  /** The host stops, the name is lost, or somebody has undeployed it. */
  | { readonly type: 'stop' };

/** The chart of a deployed actor's life; `troupe chart deployed-actor` draws it. */
export const deployedActorMachine = setup({
  types: {
    context: {} as DeployedActorInput,
    input: {} as DeployedActorInput,
    events: {} as DeployedActorEvent,
  },
  guards: {
    hasFinished: ({ event }) => event.type === 'restored' && event.finished,
    isWanted: ({ event }) => event.type === 'released' && event.wanted,
  },
  actions: {
    restore: ({ context }) => context.duties.restore(),
    startMachine: ({ context }) => context.duties.startMachine(),
    stopMachine: ({ context }) => context.duties.stopMachine(),
    refuseEvents: ({ context }) => context.duties.refuseEvents(),
    giveUp: ({ context }) => context.duties.giveUp(),
    forget: ({ context }) => context.duties.forget(),
  },
}).createMachine({
  id: 'deployedActor',
  context: ({ input }) => input,
  initial: 'restoring',
  states: {
    restoring: {
      entry: 'restore',
      on: {
        restored: [{ guard: 'hasFinished', target: 'finished' }, { target: 'active' }],
        stop: 'stopped',
      },
    },
    active: {
      entry: 'startMachine',
      initial: 'running',
      on: { stop: 'stopping', finished: 'finished' },
      states: {
        running: {
          description: 'Its machine takes events',
          on: { failed: 'backingOff', gaveUp: 'failed', idle: '#deployedActor.passivating' },
        },
        backingOff: {
          description: 'Its events wait',
          on: { restarted: 'running', gaveUp: 'failed' },
        },
        failed: {
          description: 'It is not tried again before an event comes',
          entry: 'giveUp',
          on: {
            retry: { target: '#deployedActor.active', reenter: true },
            idle: '#deployedActor.passivating',
          },
        },
      },
    },
    /** It still knows its ids, so that a repeated event is answered as it was. */
    finished: {
      entry: 'refuseEvents',
      on: { idle: 'passivating', stop: 'stopping' },
    },
    passivating: {
      entry: 'stopMachine',
      on: {
        released: [{ guard: 'isWanted', target: 'restoring' }, { target: 'passive' }],
        stop: 'stopping',
      },
    },
    /** On the disk only; the next event, or its first timer, begins another life in memory. */
    passive: { type: 'final', entry: 'forget' },
    stopping: {
      entry: 'stopMachine',
      on: { released: 'stopped' },
    },
    stopped: { type: 'final', entry: 'forget' },
  },
});

/** A state as people see it. */
export type DeployedActorState =
  | 'restoring'
  | 'running'
  | 'backingOff'
  | 'failed'
  | 'finished'
  | 'passivating'
  | 'passive'
  | 'stopping'
  | 'stopped';
