import { setup, transition } from 'xstate';

/**
 * How a peer rests while nobody wants anything of its region (docs/decisions/hibernation.md; TiKV's hibernating regions).
 *
 * A leader to which nothing happens asks all its members to rest. Each that has applied the whole log agrees and falls
 * asleep; when all have agreed, the leader does. Who sleeps neither ticks nor sends. Anything that happens to it wakes it: a request,
 * a message, a word of the store that another store is gone.
 *
 * The chart has no context, so every peer shares its snapshots: `nextRest` looks up in a table what XState makes of
 * each state and event, and a sleeping peer costs the name of its state (an actor of its own would cost 3.5 KiB).
 */
export const hibernationMachine = setup({
  types: { events: {} as { readonly type: HibernationEvent } },
  actions: {
    askMembers: doneByHost,
    agree: doneByHost,
    stopTicking: doneByHost,
    goOn: doneByHost,
  },
}).createMachine({
  id: 'hibernation',
  initial: 'awake',
  states: {
    awake: {
      on: {
        fellQuiet: { target: 'asking' },
        bidden: { target: 'asleep', actions: 'agree' },
        lostHope: { target: 'dormant' },
      },
    },
    /** The leader has asked its members. It holds its breath: a heartbeat would wake those that have agreed. */
    asking: {
      entry: 'askMembers',
      on: {
        allAgreed: { target: 'asleep' },
        askedInVain: { target: 'awake', actions: 'goOn' },
        disturbed: { target: 'awake', actions: 'goOn' },
      },
    },
    /** It leads, or knows who does, and whose store's sign of life it may rely on. */
    asleep: {
      entry: 'stopTicking',
      on: {
        // The answer was lost.
        bidden: { actions: 'agree' },
        disturbed: { target: 'awake', actions: 'goOn' },
      },
    },
    /** It knows no leader, and nobody has missed one: just started, or given up for a while for lack of a majority. */
    dormant: {
      entry: 'stopTicking',
      on: {
        disturbed: { target: 'awake', actions: 'goOn' },
      },
    },
  },
});

/** What a group tells of its traffic, and what its members say to each other about rest. */
export type HibernationEvent =
  /** To a leader: no request for long enough, and nothing left to do. */
  | 'fellQuiet'
  /** Every member that is to be waited for has agreed. */
  | 'allAgreed'
  /** They had time enough. */
  | 'askedInVain'
  /** To a follower: its leader asks it to rest, and it has nothing to do. */
  | 'bidden'
  /** No leader was found for long, and others wait for their turn to look for one. */
  | 'lostHope'
  /** A request, a message, or another store that is gone. */
  | 'disturbed';

/**
 * Whether a group works (`awake`), its leader asks for rest (`asking`), its leader rests (`asleep`), or a follower
 * does (`dormant`).
 */
export type HibernationState = 'awake' | 'asking' | 'asleep' | 'dormant';

/** What the peer does with a transition. */
export type HibernationAction = 'askMembers' | 'agree' | 'stopTicking' | 'goOn';

/** What comes of one event: the new state, and what is to be done, in this order. */
export interface HibernationStep {
  readonly state: HibernationState;
  readonly actions: readonly HibernationAction[];
}

/** Where the chart goes from a state, and what is done on the way; the state itself for an event that it does not take. */
export function nextRest(state: HibernationState, event: HibernationEvent): HibernationStep {
  return STEPS[state][event];
}

const STATES = ['awake', 'asking', 'asleep', 'dormant'] as const;
const EVENTS = ['fellQuiet', 'allAgreed', 'askedInVain', 'bidden', 'lostHope', 'disturbed'] as const;

const STEPS = table(STATES, (state) => table(EVENTS, (event) => stepOf(state, event)));

function stepOf(state: HibernationState, event: HibernationEvent): HibernationStep {
  const before = hibernationMachine.resolveState({ value: state });
  const [after, actions] = transition(hibernationMachine, before, { type: event });
  return { state: after.value, actions: actions.map(({ type }) => type as HibernationAction) };
}

function table<K extends string, V>(keys: readonly K[], make: (key: K) => V): Readonly<Record<K, V>> {
  return Object.fromEntries(keys.map((key) => [key, make(key)])) as Record<K, V>;
}

function doneByHost(): void {}
