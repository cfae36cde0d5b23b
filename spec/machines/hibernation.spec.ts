import { expect } from 'chai';
import { createActor } from 'xstate';
import {
  type HibernationEvent,
  type HibernationState,
  hibernationMachine,
  nextRest,
} from '../../machines/index.js';

const STATES: readonly HibernationState[] = ['awake', 'asking', 'asleep', 'dormant'];
const EVENTS: readonly HibernationEvent[] = [
  'fellQuiet',
  'allAgreed',
  'askedInVain',
  'bidden',
  'lostHope',
  'disturbed',
];

describe('the chart of a resting peer', () => {
  it('has these arrows and no other', () => {
    const arrows = STATES.flatMap((state) =>
      EVENTS.flatMap((event) => {
        const { state: to, actions } = nextRest(state, event);
        if (to === state && actions.length === 0) return [];
        return [`${state} - ${event} > ${to}: ${actions.join(', ')}`];
      }),
    );
    expect(arrows).to.deep.equal([
      'awake - fellQuiet > asking: askMembers',
      'awake - bidden > asleep: agree, stopTicking',
      'awake - lostHope > dormant: stopTicking',
      'asking - allAgreed > asleep: stopTicking',
      'asking - askedInVain > awake: goOn',
      'asking - disturbed > awake: goOn',
      'asleep - bidden > asleep: agree',
      'asleep - disturbed > awake: goOn',
      'dormant - disturbed > awake: goOn',
    ]);
  });

  it('has every state in its table', () => {
    expect(Object.keys(hibernationMachine.states)).to.have.members([...STATES]);
  });

  it('is the same as an actor that runs it', () => {
    for (const events of sequences(EVENTS, 4)) {
      const actor = createActor(hibernationMachine).start();
      let state: HibernationState = 'awake';
      for (const type of events) {
        actor.send({ type });
        state = nextRest(state, type).state;
        expect(actor.getSnapshot().value).to.equal(state);
      }
    }
  });
});

function* sequences<T>(of: readonly T[], length: number): Generator<readonly T[]> {
  if (length === 0) yield [];
  else for (const rest of sequences(of, length - 1)) for (const one of of) yield [...rest, one];
}
