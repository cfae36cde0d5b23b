import { setup, transition } from 'xstate';

/**
 * A region as the scheduler sees it: five questions that are answered side by side.
 *
 * The scheduler judges each heartbeat and sends what it found as an event; the chart says what the region is now. There
 * are very many regions, so they share their states: `regionAfter` remembers where the chart goes.
 */
export const regionMachine = setup({
  types: { events: {} as { readonly type: RegionEvent } },
}).createMachine({
  id: 'region',
  type: 'parallel',
  states: {
    /** Whether it has the replicas that placement asks for; the first thing that is wrong, in the order of the checkers. */
    replication: {
      initial: 'unknown',
      on: {
        foundWhole: '.whole',
        foundJoint: '.joint',
        foundMissing: '.missing',
        foundDown: '.down',
        foundOffline: '.offline',
        foundExtra: '.extra',
        foundLearner: '.learner',
        foundMisplaced: '.misplaced',
      },
      states: {
        unknown: {},
        whole: {},
        /** Its membership is in the middle of a change. */
        joint: {},
        /** Fewer voters than there should be. */
        missing: {},
        /** A peer is on a store that is down. */
        down: {},
        /** A peer is on a store that is to be left. */
        offline: {},
        /** More voters than there should be. */
        extra: {},
        /** A peer that does not vote and should, or that nobody asked for. */
        learner: {},
        /** Two replicas share a failure domain that they need not share, or one breaks a rule. */
        misplaced: {},
      },
    },
    leadership: {
      initial: 'unknown',
      on: { led: '.led', leaderLost: '.leaderless' },
      states: { unknown: {}, led: {}, leaderless: {} },
    },
    size: {
      initial: 'unknown',
      on: { foundSmall: '.small', foundFit: '.fit', foundLarge: '.large' },
      states: {
        unknown: {},
        /** It may be merged into a neighbour. */
        small: {},
        fit: {},
        /** It is larger than what regions are merged up to. */
        large: {},
      },
    },
    load: {
      initial: 'calm',
      on: { grewHot: '.hot', calmedDown: '.calm' },
      states: { calm: {}, hot: {} },
    },
    operator: {
      initial: 'none',
      on: { operatorStarted: '.running', operatorEnded: '.none' },
      states: { none: {}, running: {} },
    },
  },
});

/** What the scheduler has found out about a region. */
export type RegionEvent =
  | 'foundWhole'
  | 'foundJoint'
  | 'foundMissing'
  | 'foundDown'
  | 'foundOffline'
  | 'foundExtra'
  | 'foundLearner'
  | 'foundMisplaced'
  | 'led'
  | 'leaderLost'
  | 'foundSmall'
  | 'foundFit'
  | 'foundLarge'
  | 'grewHot'
  | 'calmedDown'
  | 'operatorStarted'
  | 'operatorEnded';

/** Whether a region has the replicas that it should have, and what is wrong first of all. */
export type Replication =
  | 'unknown'
  | 'whole'
  | 'joint'
  | 'missing'
  | 'down'
  | 'offline'
  | 'extra'
  | 'learner'
  | 'misplaced';

/** A state of the chart; the same object for every region that is in it. */
export interface RegionState {
  readonly replication: Replication;
  readonly leadership: 'unknown' | 'led' | 'leaderless';
  readonly size: 'unknown' | 'small' | 'fit' | 'large';
  readonly load: 'calm' | 'hot';
  readonly operator: 'none' | 'running';
}

interface KnownState {
  readonly snapshot: ReturnType<typeof regionMachine.resolveState>;
  readonly after: Map<RegionEvent, RegionState>;
}

const known = new Map<RegionState, KnownState>();
const states = new Map<string, RegionState>();

/** Of a region that the scheduler has just heard of. */
export const NEW_REGION: RegionState = {
  replication: 'unknown',
  leadership: 'unknown',
  size: 'unknown',
  load: 'calm',
  operator: 'none',
};

/** Where the chart goes with an event. */
export function regionAfter(state: RegionState, event: RegionEvent): RegionState {
  const { snapshot, after } = knownState(state);
  const remembered = after.get(event);
  if (remembered !== undefined) return remembered;
  const [next] = transition(regionMachine, snapshot, { type: event });
  const value = next.value as unknown as RegionState;
  const key = JSON.stringify(value);
  const shared = states.get(key) ?? { ...value };
  states.set(key, shared);
  after.set(event, shared);
  return shared;
}

function knownState(state: RegionState): KnownState {
  let entry = known.get(state);
  if (entry === undefined) {
    const snapshot = regionMachine.resolveState({ value: { ...state } });
    entry = { snapshot, after: new Map() };
    known.set(state, entry);
    states.set(JSON.stringify(snapshot.value), state);
  }
  return entry;
}
