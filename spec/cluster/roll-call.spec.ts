import { expect } from 'chai';
import type { RestingGroup } from '../../cluster/raft/resting-group.js';
import { RollCall } from '../../cluster/raft/roll-call.js';

const ELECTION_TICKS = 10;
const NOBODY = 0;
const OTHER = 12;

/** As much of a group as is called. */
class Called {
  stopped = false;
  leader = NOBODY;
  asleep = true;
  readonly said: string[] = [];
  readonly raft = { voters: [11, 12, 13] };
  constructor(
    readonly id: number,
    readonly peerId = 11,
  ) {}

  standForElection(ticks: number): void {
    this.asleep = false;
    this.said.push(`stands in ${ticks}`);
  }

  askForLeader(): void {
    this.said.push('asks');
  }

  loseHope(): void {
    this.asleep = true;
    this.said.push('lost hope');
  }

  wake(): void {
    this.asleep = false;
    this.said.push('woken');
  }

  /** It was elected, or has heard who was, and rests. */
  settle(): void {
    this.leader = OTHER;
    this.asleep = true;
  }
}

function group(called: Called): RestingGroup {
  return called as unknown as RestingGroup;
}

/** Groups in which this peer is the first to stand, or not. */
function many(count: number, rollCall: RollCall, first = true): Called[] {
  return Array.from({ length: count }, (_, i) => {
    const called = new Called(3 * i + (first ? 0 : 1));
    rollCall.enlist(group(called));
    return called;
  });
}

const awake = (all: readonly Called[]): Called[] => all.filter(({ asleep }) => !asleep);

describe('The roll call', () => {
  it('wakes more at once as long as they fall asleep again soon, up to a limit', () => {
    const rollCall = new RollCall(ELECTION_TICKS);
    const all = many(10_000, rollCall);
    const counts: number[] = [];
    for (let tick = 1; tick <= 40; tick++) {
      rollCall.tick(tick, false);
      counts.push(awake(all).length);
      if (tick % 8 === 0) for (const one of awake(all)) one.settle();
    }
    expect([1, 9, 17, 25].map((tick) => counts[tick - 1])).to.deep.equal([256, 512, 512, 512]);
  });

  it('wakes fewer when they take long, or when ticks are late', () => {
    for (const late of [false, true]) {
      const rollCall = new RollCall(ELECTION_TICKS);
      const all = many(10_000, rollCall);
      let most = 0;
      for (let tick = 1; tick <= 400; tick++) {
        rollCall.tick(tick, late);
        if (tick % 20 === 0) for (const one of awake(all)) rollCall.adrift(group(one));
        if (tick > 200) most = Math.max(most, awake(all).length);
        if (late) for (const one of awake(all).slice(0, 20)) one.settle();
      }
      expect(most).to.be.at.most(8);
      if (!late) expect(most).to.be.above(0);
    }
  });

  it('begins with those regions where this peer stands first; each voter does in its share', () => {
    const first: number[] = [];
    for (const peerId of [11, 12, 13]) {
      const rollCall = new RollCall(ELECTION_TICKS);
      const all = Array.from({ length: 30 }, (_, i) => new Called(i, peerId));
      for (const one of all) rollCall.enlist(group(one));
      rollCall.tick(1, false);
      const standing = all.filter(({ said }) => said[0]?.startsWith('stands'));
      expect(standing).to.have.lengthOf(10);
      first.push(...standing.map(({ id }) => id));
    }
    expect(new Set(first).size).to.equal(30);
  });

  it('lets the others only ask, and stand when nobody has been elected after a while', () => {
    const rollCall = new RollCall(ELECTION_TICKS);
    const [second, learner] = [new Called(1), new Called(2, 99)];
    for (const one of [second, learner]) rollCall.enlist(group(one));
    for (let tick = 1; tick <= 3 * ELECTION_TICKS; tick++) rollCall.tick(tick, false);
    expect([second.said, learner.said]).to.deep.equal([['asks'], ['asks']]);
    rollCall.tick(3 * ELECTION_TICKS + 1, false);
    expect([second.said.at(-1), learner.said.at(-1)]).to.deep.equal(['stands in 8', 'stands in 16']);
  });

  it('passes over those that have found their leader, or stopped', () => {
    const rollCall = new RollCall(ELECTION_TICKS);
    const [found, stopped] = many(2, rollCall) as [Called, Called];
    const [other] = many(1, rollCall, false) as [Called];
    found.settle();
    stopped.stopped = true;
    rollCall.tick(1, false);
    other.settle();
    for (let tick = 2; tick <= 50; tick++) rollCall.tick(tick, false);
    expect([found.said, stopped.said, other.said]).to.deep.equal([[], [], ['asks']]);
  });

  it('gives everybody a turn where nobody finds a leader, and leaves them awake when nobody waits', () => {
    const rollCall = new RollCall(ELECTION_TICKS);
    const all = many(400, rollCall);
    for (let tick = 1; tick <= 20_000; tick++) {
      rollCall.tick(tick, false);
      if (tick % 20 === 0) for (const one of awake(all)) rollCall.adrift(group(one));
    }
    const turns = all.map(({ said }) => said.filter((what) => what.startsWith('stands')).length);
    expect(Math.min(...turns)).to.be.above(10);
    expect(Math.max(...turns)).to.be.at.most(2 * Math.min(...turns) + 2);
    const alone = new RollCall(ELECTION_TICKS);
    const [one] = many(1, alone) as [Called];
    for (let tick = 1; tick <= 3_000; tick++) {
      alone.tick(tick, false);
      alone.adrift(group(one));
    }
    expect(one.said).to.deep.equal(['stands in 4']);
  });

  it('begins with those that something has happened to', () => {
    const rollCall = new RollCall(ELECTION_TICKS);
    const waiting = many(400, rollCall);
    const disturbed = Array.from({ length: 50 }, (_, i) => new Called(i));
    for (const one of disturbed) rollCall.disturb(group(one), () => one.wake());
    for (const one of disturbed.slice(0, 10)) one.stopped = true;
    rollCall.tick(1, false);
    expect(awake(disturbed)).to.have.lengthOf(40);
    expect(awake(waiting)).to.have.lengthOf(256 - 40);
  });
});
