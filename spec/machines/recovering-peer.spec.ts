import { expect } from 'chai';
import { createActor } from 'xstate';
import type { ConfState, Message, MessageType } from '../../machines/index.js';
import {
  judgeSnapshot,
  type RecoveringPeerEvent,
  type RecoveryFloor,
  recoveringPeerMachine,
  waitsFor,
} from '../../machines/recovering-peer.machine.js';
import { LONG } from '../extent.js';
import { say, voters } from './raft/network.js';
import { type PlantedBug, RecoveringWorld, type Weather } from './recovering-world.js';

const ME = 1;
const TICKS = 10;

/** A recovering peer and all that it did. */
class Recovering {
  readonly asked: (readonly number[])[] = [];
  readonly floors: RecoveryFloor[] = [];
  readonly sent: Message[] = [];
  readonly restored: Message[] = [];
  /** How often it said so. */
  beyondRepair = 0;
  readonly actor;

  constructor(voterIds: readonly number[], known?: RecoveryFloor) {
    this.actor = createActor(recoveringPeerMachine, {
      input: {
        host: {
          askTerms: (peers) => this.asked.push(peers),
          saveFloor: (floor) => this.floors.push(floor),
          send: (message) => this.sent.push(message),
          sayBeyondRepair: () => {
            this.beyondRepair++;
          },
          restore: (message) => this.restored.push(message),
        },
        id: ME,
        voters: voterIds,
        known,
        electionTicks: TICKS,
      },
    }).start();
  }

  get state(): string {
    return String(this.actor.getSnapshot().value);
  }

  get context() {
    return this.actor.getSnapshot().context;
  }

  tell(...events: RecoveringPeerEvent[]): this {
    for (const event of events) this.actor.send(event);
    return this;
  }

  hear(type: MessageType, term: number, fields: Partial<Message> = {}, from = 2): this {
    return this.tell({ type: 'raft', message: { ...say(type, from, ME, fields), term } });
  }

  tick(times: number): this {
    for (let i = 0; i < times; i++) this.tell({ type: 'tick' });
    return this;
  }

  /** Everybody has answered, the highest with this term. */
  static at(floor: number, voterIds: readonly number[] = [1, 2, 3]): Recovering {
    const peer = new Recovering(voterIds);
    for (const voter of voterIds) if (voter !== ME) peer.tell(answer(voter, floor));
    return peer.tell({ type: 'floorSaved' });
  }
}

function answer(peer: number, term: number, recovering = false): RecoveringPeerEvent {
  return { type: 'termAnswered', peer, term, recovering };
}

function snapshot(index: number, term: number, confState: ConfState = voters(1, 2, 3)) {
  return { snapshot: { index, term, confState, data: new Uint8Array(0) } };
}

describe('a recovering peer', () => {
  it('asks every other voter for its term, and again those who have not answered', () => {
    const peer = new Recovering([1, 2, 3, 4, 5]);
    expect(peer.asked).to.deep.equal([[2, 3, 4, 5]]);
    peer.tell(answer(2, 7), answer(4, 9));
    expect(waitsFor(peer.context)).to.deep.equal([3, 5]);
    peer.tick(TICKS - 1);
    expect(peer.asked).to.have.length(1);
    peer.tick(1);
    expect(peer.asked[1]).to.deep.equal([3, 5]);
    expect(peer.state).to.equal('asking');
  });

  it('takes the highest answer as its floor, and makes it durable before it believes anybody', () => {
    const peer = new Recovering([1, 2, 3]).tell(answer(2, 7), answer(3, 9));
    expect(peer.state).to.equal('saving floor');
    expect(peer.floors).to.deep.equal([{ floor: 9, answered: [2, 3] }]);
    peer.hear('heartbeat', 12);
    expect(peer.sent).to.deep.equal([]);
    expect(peer.tell({ type: 'floorSaved' }).state).to.equal('awaiting snapshot');
  });

  it('counts a voter that is recovering itself as answered, and believes no term of it', () => {
    const peer = new Recovering([1, 2, 3]).tell(answer(2, 7), answer(3, 99, true));
    expect(peer.floors).to.deep.equal([{ floor: 7, answered: [2, 3] }]);
  });

  it('goes on after a restart with what it had learnt', () => {
    const peer = new Recovering([1, 2, 3], { floor: 9, answered: [2] });
    expect(peer.asked).to.deep.equal([[3]]);
    peer.tell(answer(3, 4));
    expect(peer.floors).to.deep.equal([{ floor: 9, answered: [2, 3] }]);
    const again = new Recovering([1, 2, 3], { floor: 9, answered: [2, 3] });
    expect([again.asked, again.state]).to.deep.equal([[[]], 'saving floor']);
  });

  it('says nothing to anybody before it knows its floor', () => {
    const peer = new Recovering([1, 2, 3]).tell(answer(2, 7));
    peer.hear('heartbeat', 9).hear('appendEntries', 9).hear('installSnapshot', 9, snapshot(8, 9));
    expect([peer.sent, peer.restored, peer.state]).to.deep.equal([[], [], 'asking']);
  });

  it('neither votes nor campaigns, whatever it is asked', () => {
    const peer = Recovering.at(9);
    for (const type of ['requestVote', 'requestPreVote', 'timeoutNow', 'requestVoteResponse'] as const) {
      for (const term of [5, 9, 10, 50]) peer.hear(type, term, { index: 100, logTerm: 50 });
    }
    peer.tick(100);
    expect([peer.sent, peer.restored, peer.state]).to.deep.equal([[], [], 'awaiting snapshot']);
  });

  it('deposes a leader of its floor or below, once per election timeout', () => {
    for (const type of ['heartbeat', 'appendEntries', 'installSnapshot'] as const) {
      const peer = Recovering.at(9);
      const old = type === 'installSnapshot' ? snapshot(50, 9) : {};
      peer.hear(type, 9, old).hear(type, 8, old).hear(type, 9, old);
      expect(peer.sent).to.have.length(1);
      expect(peer.sent[0]).to.include({
        type: 'appendEntriesResponse',
        from: ME,
        to: 2,
        term: 10,
        reject: false,
        index: 0,
      });
      peer.tick(TICKS).hear(type, 9, old);
      expect(peer.sent).to.have.length(2);
      expect(peer.restored).to.deep.equal([]);
    }
  });

  it('answers the heartbeats of a newer leader and rejects its appends as who holds nothing', () => {
    const peer = Recovering.at(9);
    const context = Uint8Array.of(1, 2, 3);
    peer
      .hear('heartbeat', 10, { context, commit: 40 })
      .hear('appendEntries', 10, { index: 44, logTerm: 9, commit: 40 });
    expect(peer.sent[0]).to.include({ type: 'heartbeatResponse', to: 2, term: 10, context });
    expect(peer.sent[1]).to.include({
      type: 'appendEntriesResponse',
      to: 2,
      term: 10,
      index: 44,
      reject: true,
      rejectHint: 0,
      logTerm: 0,
    });
    // And no more to a leader that this one has overtaken.
    peer.hear('heartbeat', 12, {}, 3).hear('heartbeat', 11);
    expect(peer.sent.map(({ term }) => term)).to.deep.equal([10, 10, 12]);
  });

  it("takes a snapshot only when it ends within its leader's own term", () => {
    const peer = Recovering.at(9);
    peer.hear('installSnapshot', 11, snapshot(40, 10));
    expect([peer.restored, peer.state]).to.deep.equal([[], 'awaiting snapshot']);
    peer.hear('installSnapshot', 11, snapshot(41, 11));
    expect(peer.state).to.equal('restoring');
    expect(peer.restored[0]).to.deep.include({ term: 11, from: 2, ...snapshot(41, 11) });
    expect(peer.sent).to.deep.equal([]);
  });

  it('takes no snapshot of a leader that a newer one has overtaken', () => {
    const peer = Recovering.at(9).hear('heartbeat', 12, {}, 3);
    peer.hear('installSnapshot', 11, snapshot(41, 11));
    expect(peer.restored).to.deep.equal([]);
  });

  it('asks first those voters of a snapshot that have not said their terms, of both halves', () => {
    const joint = { ...voters(1, 2, 4), votersOutgoing: [1, 2, 5] };
    const peer = Recovering.at(9).hear('installSnapshot', 11, snapshot(41, 11, joint));
    expect([peer.state, peer.asked.at(-1)]).to.deep.equal(['asking', [4, 5]]);
    peer.tell(answer(4, 11), answer(5, 2), { type: 'floorSaved' });
    expect(peer.floors.at(-1)?.floor).to.equal(11);
    // The leader of term 11 may have been elected by a vote that only peer 4 could tell of.
    expect(
      judgeSnapshot(peer.context, { ...say('installSnapshot', 2, ME, snapshot(41, 11, joint)), term: 11 }),
    ).to.equal('old-leader');
    expect(peer.hear('installSnapshot', 12, snapshot(44, 12, joint)).state).to.equal('restoring');
  });

  it('follows the scheduler when the members change while it asks', () => {
    const peer = new Recovering([1, 2, 3]).tell(answer(2, 7), { type: 'votersLearnt', voters: [1, 2, 4] });
    expect(peer.asked.at(-1)).to.deep.equal([4]);
    peer.tell(answer(4, 8));
    expect(peer.floors.at(-1)?.floor).to.equal(8);
    peer.tell({ type: 'floorSaved' }, { type: 'votersLearnt', voters: [1, 2, 4] });
    expect(peer.state).to.equal('awaiting snapshot');
    expect(peer.tell({ type: 'votersLearnt', voters: [1, 2, 6] }).state).to.equal('asking');
  });

  it('is whole when the snapshot is durable, and waits again when it could not be installed', () => {
    const peer = Recovering.at(9).hear('installSnapshot', 11, snapshot(41, 11));
    expect(peer.tell({ type: 'restoreFailed' }).state).to.equal('awaiting snapshot');
    peer.hear('installSnapshot', 11, snapshot(42, 11)).tell({ type: 'restored' });
    expect(peer.state).to.equal('whole');
  });

  it('is beyond repair when it was the only voter, until others are known', () => {
    const peer = new Recovering([1]);
    expect(peer.state).to.equal('beyond repair');
    expect(peer.beyondRepair).to.equal(1);
    expect(peer.tell({ type: 'votersLearnt', voters: [1] }).state).to.equal('beyond repair');
    expect(peer.tell({ type: 'votersLearnt', voters: [1, 2] }).state).to.equal('asking');
  });
});

const THREE: Weather = {
  peers: 3,
  loss: 0.05,
  duplication: 0.05,
  ticks: 0.25,
  erasures: 0.004,
  restarts: 0.003,
  partitions: 0.003,
  erasedAtOnce: 1,
};
const FIVE: Weather = { ...THREE, peers: 5, erasedAtOnce: 2 };
const STEPS = 3_000;
/** Nothing happens but what a spec brings about. */
const STILL: Weather = {
  peers: 3,
  loss: 0,
  duplication: 0,
  ticks: 0,
  erasures: 0,
  restarts: 0,
  partitions: 0,
  erasedAtOnce: 1,
};

describe('recovery of erased peers, with everything in flight at once', function () {
  this.timeout(120_000);

  for (const [name, weather, seeds] of [
    ['three voters, one erased at a time', THREE, 60],
    ['five voters, two erased at a time', FIVE, 40],
    ['three voters in a storm', { ...THREE, loss: 0.25, duplication: 0.2, ticks: 0.35, erasures: 0.008 }, 40],
  ] as const) {
    it(`loses nothing committed and elects one leader a term: ${name}`, () => {
      const totals = { erasures: 0, recoveries: 0, elections: 0, deposed: 0, refusedSnapshots: 0 };
      for (let seed = 1; seed <= seeds; seed++) {
        const world = new RecoveringWorld(seed, weather);
        try {
          for (let step = 0; step < STEPS; step++) world.step();
          expect(world.calm(), 'rounds until all are whole').to.be.greaterThan(0);
        } catch (error) {
          throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : error}`, {
            cause: error,
          });
        }
        for (const key of Object.keys(totals) as (keyof typeof totals)[]) totals[key] += world.counts[key];
      }
      for (const [what, count] of Object.entries(totals)) expect(count, what).to.be.greaterThan(seeds / 2);
    });
  }

  it('loses nothing committed and elects one leader a term: links that come and go', () => {
    const totals = { erasures: 0, recoveries: 0 };
    for (let seed = 1; seed <= 25; seed++) {
      const world = new RecoveringWorld(seed, STILL);
      try {
        for (let phase = 0; phase < 60; phase++) world.phase();
        expect(world.calm(), 'rounds until all are whole').to.be.greaterThan(0);
      } catch (error) {
        throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : error}`, { cause: error });
      }
      totals.erasures += world.counts.erasures;
      totals.recoveries += world.counts.recoveries;
    }
    expect(totals.erasures).to.be.greaterThan(50);
    expect(totals.recoveries).to.equal(totals.erasures);
  });

  /**
   * A leader that 3 never acknowledged anything to is cut off; 2 follows it in office and commits with 3, which then
   * loses its disk and hears of nobody but the old leader.
   */
  function oldLeaderAfterErasure(planted?: PlantedBug): RecoveringWorld {
    const world = new RecoveringWorld(1, {
      ...STILL,
      options: { preVote: false, checkQuorum: false },
      ...(planted === undefined ? {} : { planted }),
    });
    world.linkOnly('1-2');
    world.campaign(1);
    world.linkOnly('2-3');
    world.campaign(2);
    world.propose();
    world.pass(3, 2);
    world.erase(3);
    world.linkOnly('1-3');
    world.pass(30, 1, 3);
    world.propose();
    world.pass(30, 1, 3);
    return world;
  }

  it('does not let a leader of the floor or below commit with the peer that forgot another', () => {
    const world = oldLeaderAfterErasure();
    expect(world.recovering.get(3)?.getSnapshot().value).to.equal('asking');
    expect(world.calm()).to.be.greaterThan(0);
  });

  it('is seen to break without a rule: no floor', () => {
    expect(() => oldLeaderAfterErasure('no floor')).to.throw('two entries were committed at 7');
  });

  // That snapshots come too early takes some hundred histories to show.
  const planted: readonly PlantedBug[] = LONG ? ['starts empty', 'early snapshots'] : ['starts empty'];
  for (const bug of planted) {
    it(`is seen to break without a rule: ${bug}`, () => {
      const weather = { ...THREE, erasures: 0.02, partitions: 0, loss: 0.2, ticks: 0.3, planted: bug };
      const breaks = (seed: number): boolean => {
        const world = new RecoveringWorld(
          seed,
          seed % 2 === 0 ? weather : { ...weather, peers: 5, erasedAtOnce: 2 },
        );
        try {
          for (let step = 0; step < STEPS; step++) world.step();
          return false;
        } catch {
          return true;
        }
      };
      let seed = 1;
      while (seed <= 500 && !breaks(seed)) seed++;
      expect(seed, 'seeds tried').to.be.at.most(500);
    });
  }
});
