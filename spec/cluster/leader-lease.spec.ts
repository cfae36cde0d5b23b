import { expect } from 'chai';
import { VirtualClock } from '../../actors/index.js';
import { RaftGroup } from '../../cluster/raft/group.js';
import { INITIAL_LOG } from '../../cluster/raft/initial-log.js';
import { LeaderLease } from '../../cluster/raft/leader-lease.js';
import { type InitialState, makeMessage } from '../../machines/index.js';
import { transferMarker } from '../../machines/raft/message.js';

const ELECTION_MS = 1_000;
const INITIAL: InitialState = {
  hardState: { term: INITIAL_LOG.term, vote: 0, commit: INITIAL_LOG.index },
  confState: { voters: [1, 2, 3], votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false },
  truncated: INITIAL_LOG,
  lastIndex: INITIAL_LOG.index,
  terms: [],
  entries: [],
  applied: INITIAL_LOG.index,
};

/** One of three peers, with the others played by the spec. */
function peer({ leases = true } = {}) {
  const clock = new VirtualClock();
  const group = new RaftGroup({
    id: 1,
    peerId: 1,
    config: { random: () => 0, preVote: false, checkQuorum: true, skipBroadcastCommit: true },
    initial: INITIAL,
    machine: { apply: (entries) => entries.map(() => undefined) },
    clock,
    leaseTimeout: leases ? ELECTION_MS : undefined,
    touch: () => {},
  });
  const sent: { type: string; to: number; context: Uint8Array; reject: boolean; term: number }[] = [];
  /** Carries out Readys at once: disk and network take no time. */
  const settle = (): void => {
    for (let ready = group.takeReady(); ready !== undefined; ready = group.takeReady()) {
      sent.push(...ready.messages);
      for (const response of ready.append?.responses ?? []) {
        if (response.to === 1) group.step(response);
        else sent.push(response);
      }
      if (ready.apply !== undefined) {
        group.answer(ready.apply, []);
        group.entriesApplied(ready.apply);
      }
    }
  };
  const step = (message: Parameters<typeof makeMessage>[0]): void => {
    group.step(makeMessage({ to: 1, term: group.term, ...message }));
    settle();
  };
  const lead = (): void => {
    for (let tick = 0; tick < 10; tick++) group.tick();
    group.campaign();
    settle();
    step({ type: 'requestVoteResponse', from: 2 });
    step({ type: 'appendEntriesResponse', from: 2, index: group.status().lastIndex });
    sent.length = 0;
  };
  /** A read; tells later whether it was served. */
  const read = () => {
    const outcome = { served: false, code: '' };
    group.read((result) => {
      outcome.served = result.ok;
      if (!result.ok) outcome.code = result.code;
    });
    settle();
    return outcome;
  };
  /** Peer 2 answers the last round. */
  const confirm = (): void => {
    const round = sent.filter(({ type }) => type === 'heartbeat').at(-1);
    if (round === undefined) throw new Error('no round is under way');
    step({ type: 'heartbeatResponse', from: 2, context: round.context });
  };
  return { clock, group, sent, settle, step, lead, read, confirm };
}

describe("A leader's lease", () => {
  it('without leases every read asks a quorum', () => {
    const { lead, read, confirm } = peer({ leases: false });
    lead();
    for (let i = 0; i < 3; i++) {
      const one = read();
      expect(one.served).to.equal(false);
      confirm();
      expect(one.served).to.equal(true);
    }
  });

  it('serves reads without asking for 0.8 of the base election timeout after a round was sent', async () => {
    const { clock, sent, lead, read, confirm } = peer();
    lead();
    const first = read();
    expect(first.served).to.equal(false);
    await clock.advance(300);
    confirm();
    expect(first.served).to.equal(true);
    sent.length = 0;
    await clock.advance(499);
    expect(read().served, 'counted from when the round was sent').to.equal(true);
    expect(sent).to.deep.equal([]);
    await clock.advance(1);
    expect(read().served, 'not from when it was answered').to.equal(false);
  });

  it('ends with leadership', async () => {
    const { group, lead, read, confirm, step } = peer();
    lead();
    read();
    confirm();
    expect(read().served).to.equal(true);
    step({ type: 'appendEntriesResponse', from: 2, term: group.term + 1, reject: true });
    expect(read().code).to.equal('not-leader');
  });

  it('is given up for the rest of the term when leadership is offered to somebody', async () => {
    const { clock, group, lead, read, confirm, settle } = peer();
    lead();
    read();
    confirm();
    group.transferLeader(2);
    settle();
    expect(read().served).to.equal(false);
    for (let tick = 0; tick < 10; tick++) group.tick();
    settle();
    await clock.advance(1_000);
    const late = read();
    confirm();
    expect(late.served, 'reads go on by rounds').to.equal(true);
    expect(read().served).to.equal(false);
  });

  it('is of one term, and over when it is over', () => {
    const lease = new LeaderLease(ELECTION_MS);
    lease.confirm(7, 100);
    expect(lease.holds(7, 899)).to.equal(true);
    expect(lease.holds(7, 900)).to.equal(false);
    expect(lease.holds(8, 500), 'a lease is of one term').to.equal(false);
  });

  describe('is honoured by those who confirmed it', () => {
    const vote = { type: 'requestVote', from: 3, term: 9, index: 99, logTerm: 9 } as const;
    const granted = (sent: ReturnType<typeof peer>['sent']) =>
      sent.some(({ type, reject }) => type === 'requestVoteResponse' && !reject);

    it('no vote for one base election timeout after a leader was heard', () => {
      const { group, sent, step } = peer();
      for (let tick = 0; tick < 9; tick++) group.tick();
      step({ type: 'heartbeat', from: 2, term: 6, commit: 5 });
      for (let tick = 0; tick < 9; tick++) group.tick();
      step(vote);
      expect(granted(sent)).to.equal(false);
      group.tick();
      step(vote);
      expect(granted(sent)).to.equal(true);
    });

    it('no vote for one base election timeout after a restart', () => {
      const { group, sent, step } = peer();
      for (let tick = 0; tick < 9; tick++) group.tick();
      step(vote);
      expect(granted(sent)).to.equal(false);
      group.tick();
      step(vote);
      expect(granted(sent)).to.equal(true);
    });

    it('no vote though something else has raised the term meanwhile', () => {
      const { group, sent, step } = peer();
      step({ type: 'heartbeat', from: 2, term: 6, commit: 5 });
      step({ type: 'requestVoteResponse', from: 3, term: 8, reject: true });
      expect(group.term).to.equal(8);
      step(vote);
      expect(granted(sent)).to.equal(false);
    });

    it('but a vote for whom the leader itself sends', () => {
      const { sent, step } = peer();
      step({ type: 'heartbeat', from: 2, term: 6, commit: 5 });
      step({ ...vote, context: transferMarker() });
      expect(granted(sent)).to.equal(true);
    });
  });
});
