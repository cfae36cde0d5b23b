import { expect } from 'chai';
import { createActor } from 'xstate';
import { type SchedulerEvent, schedulerMachine } from '../../machines/scheduler.machine.js';

function run(events: readonly SchedulerEvent[]): { readonly done: string[]; readonly state: unknown } {
  const done: string[] = [];
  const type = (request: unknown) => (request as SchedulerEvent).type;
  const actor = createActor(schedulerMachine, {
    input: {
      duties: {
        answer: (request) => done.push(`answer ${type(request)}`),
        refuse: (request, reason) => done.push(`${reason} ${type(request)}`),
        stepRaft: () => done.push('raft'),
        prepare: () => done.push('prepare'),
        bootstrap: () => done.push('bootstrap'),
        startPlacement: () => done.push('startPlacement'),
        resign: () => done.push('resign'),
      },
    },
  }).start();
  for (const event of events) actor.send(event);
  return { done, state: actor.getSnapshot().value };
}

const elected: SchedulerEvent = { type: 'elected' };
const collecting: SchedulerEvent = { type: 'prepared', phase: 'collecting' };
const bootstrapping: SchedulerEvent = { type: 'prepared', phase: 'bootstrapping' };
const serving: SchedulerEvent = { type: 'prepared', phase: 'serving' };
const lookUp: SchedulerEvent = { type: 'pd.getRegion' };
const register: SchedulerEvent = { type: 'pd.putStore' };
const members: SchedulerEvent = { type: 'pd.getMembers' };

describe('the scheduler machine', () => {
  it('answers nothing but who leads while it follows', () => {
    expect(run([register, lookUp, members]).done).to.deep.equal([
      'not-leader pd.putStore',
      'not-leader pd.getRegion',
      'answer pd.getMembers',
    ]);
  });

  it('answers nothing but who leads until its state is complete', () => {
    expect(run([elected, register, members]).done).to.deep.equal([
      'prepare',
      'starting pd.putStore',
      'answer pd.getMembers',
    ]);
  });

  it('registers stores, and knows no regions, before the cluster has one', () => {
    const { done, state } = run([elected, collecting, register, lookUp, { type: 'pd.regionHeartbeat' }]);
    expect(done.slice(1)).to.deep.equal([
      'answer pd.putStore',
      'not-bootstrapped pd.getRegion',
      'not-bootstrapped pd.regionHeartbeat',
    ]);
    expect(state).to.deep.equal({ leading: 'collectingStores' });
  });

  it('asks the chosen stores, and serves meanwhile', () => {
    const { done, state } = run([elected, collecting, { type: 'storesChosen' }, lookUp]);
    expect(done).to.deep.equal(['prepare', 'bootstrap', 'answer pd.getRegion']);
    expect(state).to.deep.equal({ leading: 'bootstrapping' });
    expect(run([elected, bootstrapping]).done).to.deep.equal(['prepare', 'bootstrap']);
  });

  it('serves when all have confirmed, and at once when they did before', () => {
    expect(run([elected, bootstrapping, { type: 'bootstrapped' }]).state).to.deep.equal({
      leading: { serving: 'collecting' },
    });
    expect(run([elected, serving, lookUp])).to.deep.equal({
      done: ['prepare', 'startPlacement', 'answer pd.getRegion'],
      state: { leading: { serving: 'collecting' } },
    });
  });

  it('places regions when enough have been heard of, and rests while it is halted', () => {
    const placing = [elected, serving, { type: 'regionsCollected' }] as const;
    expect(run(placing).state).to.deep.equal({ leading: { serving: 'scheduling' } });
    expect(run([...placing, { type: 'halted' }]).state).to.deep.equal({ leading: { serving: 'paused' } });
    expect(run([...placing, { type: 'halted' }, { type: 'resumed' }]).state).to.deep.equal({
      leading: { serving: 'scheduling' },
    });
  });

  it('resigns when another leads, and begins anew when elected again', () => {
    const { done, state } = run([elected, serving, { type: 'deposed' }, lookUp, elected]);
    expect(done).to.deep.equal(['prepare', 'startPlacement', 'resign', 'not-leader pd.getRegion', 'prepare']);
    expect(state).to.deep.equal({ leading: 'preparing' });
  });

  it('answers nobody after it broke, and takes no Raft message', () => {
    const broke: SchedulerEvent = { type: 'broke', error: new Error('disk') };
    const { done, state } = run([
      { type: 'raft' },
      elected,
      serving,
      broke,
      lookUp,
      { type: 'raft' },
      elected,
    ]);
    expect(done).to.deep.equal(['raft', 'prepare', 'startPlacement', 'resign', 'stopped pd.getRegion']);
    expect(state).to.equal('stopped');
  });
});
