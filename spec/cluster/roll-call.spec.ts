import { expect } from 'chai';
import type { RaftGroup } from '../../cluster/raft/group.js';
import { RollCall } from '../../cluster/raft/roll-call.js';

const ELECTION_TICKS = 10;

/** As much of a group as is called. */
class Called {
  stopped = false;
  leader = 0;
  calls: boolean[] = [];
  readonly said: string[] = [];
  readonly raft = { voters: [11, 12, 13] };
  constructor(
    readonly id: number,
    readonly peerId = 11,
  ) {}

  callForLeader(first: boolean): void {
    this.calls.push(first);
  }

  loseHope(): void {
    this.said.push('lost hope');
  }

  wake(): void {
    this.said.push('woken');
  }

  leaderIsGone(): void {
    this.said.push('leader gone');
  }
}

function group(called: Called): RaftGroup {
  return called as unknown as RaftGroup;
}

function many(count: number, rollCall: RollCall, peerId = 11): Called[] {
  return Array.from({ length: count }, (_, i) => {
    const called = new Called(i + 1, peerId);
    rollCall.enlist(group(called));
    return called;
  });
}

const calledOf = (all: readonly Called[]): number => all.filter(({ calls }) => calls.length > 0).length;

describe('The roll call', () => {
  it('calls some of those without a leader with each tick, and only so many at once', () => {
    const rollCall = new RollCall(ELECTION_TICKS);
    const all = many(2_000, rollCall);
    const counts: number[] = [];
    for (let tick = 1; tick <= 5; tick++) {
      rollCall.tick(tick);
      counts.push(calledOf(all));
    }
    expect(counts).to.deep.equal([256, 512, 512, 512, 512]);
    for (const one of all.filter(({ calls }) => calls.length > 0).slice(0, 100)) one.leader = 12;
    rollCall.tick(6);
    expect(calledOf(all)).to.equal(612);
  });

  it('begins with those regions where this peer stands first; each voter does in its share', () => {
    const order: number[] = [];
    for (const peerId of [11, 12, 13]) {
      const rollCall = new RollCall(ELECTION_TICKS);
      const all = many(30, rollCall, peerId);
      rollCall.tick(1);
      const first = all.filter(({ calls }) => calls[0] === true).map(({ id }) => id);
      expect(first).to.have.lengthOf(10);
      order.push(...first);
    }
    expect(new Set(order).size).to.equal(30);
    const learner = new RollCall(ELECTION_TICKS);
    const [one] = many(1, learner, 99);
    learner.tick(1);
    expect(one?.calls).to.deep.equal([false]);
  });

  it('passes over those that have found their leader, or stopped', () => {
    const rollCall = new RollCall(ELECTION_TICKS);
    const [found, stopped] = many(2, rollCall);
    if (found !== undefined) found.leader = 12;
    if (stopped !== undefined) stopped.stopped = true;
    rollCall.tick(1);
    expect([found?.calls, stopped?.calls]).to.deep.equal([[], []]);
  });

  it('gives everybody a turn where nobody finds a leader, and leaves them awake when nobody waits', () => {
    const rollCall = new RollCall(ELECTION_TICKS);
    const all = many(1_500, rollCall);
    for (let tick = 1; tick <= 3_000; tick++) rollCall.tick(tick);
    const turns = all.map(({ calls }) => calls.length);
    expect(Math.min(...turns)).to.be.above(20);
    expect(Math.max(...turns) - Math.min(...turns)).to.be.at.most(2);
    const few = new RollCall(ELECTION_TICKS);
    const [one] = many(1, few);
    for (let tick = 1; tick <= 3_000; tick++) few.tick(tick);
    expect([one?.calls, one?.said]).to.deep.equal([[one?.calls[0]], []]);
  });

  it('wakes those that others asked for, so many with each tick', () => {
    const rollCall = new RollCall(ELECTION_TICKS);
    const all = Array.from({ length: 600 }, (_, i) => new Called(i));
    for (const [i, one] of all.entries()) rollCall.disturb(group(one), i % 2 === 0);
    const woken: number[] = [];
    for (let tick = 1; tick <= 3; tick++) {
      rollCall.tick(tick);
      woken.push(all.filter(({ said }) => said.length > 0).length);
    }
    expect(woken).to.deep.equal([256, 512, 600]);
    expect([all[0]?.said, all[1]?.said]).to.deep.equal([['leader gone'], ['woken']]);
  });
});
