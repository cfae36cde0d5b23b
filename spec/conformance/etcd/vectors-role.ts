import type { MessageType, Role } from '../../../machines/index.js';
import { becomeCandidate, becomePreCandidate } from '../../../machines/raft/election.js';
import { becomeFollower } from '../../../machines/raft/following.js';
import { becomeLeader } from '../../../machines/raft/leading.js';
import { maybeCommit } from '../../../machines/raft/replication.js';
import { roleEdges } from '../../machines/raft/chart.js';
import { bytes, Host, Network, PLAIN, say, voters } from '../../machines/raft/network.js';
import { same, type TableRunner } from './check.js';
import { type Position, termsOf } from './vectors-log.js';

/** Roles, elections, commits and reads. */

interface Peers {
  readonly id: number;
  readonly role: Role;
  readonly term: number;
  readonly lastIndex: number;
}

/** A peer that plays `role`, brought there as the protocol does. */
function inRole(role: Role, size: number, log: number[] = [], term = 0): Host {
  const ids = Array.from({ length: size }, (_, i) => i + 1);
  const host = new Host(
    { ...PLAIN, id: 1, preVote: role === 'preCandidate' },
    { confState: voters(...ids), log, term },
  );
  if (role === 'follower') return host;
  host.node.campaign();
  host.settle();
  if (role === 'leader') {
    for (const from of ids.slice(1))
      host.node.step(say('requestVoteResponse', from, 1, { term: host.node.term }));
    host.settle();
  }
  same(host.node.role, role, 'role to start in');
  return host;
}

export const ROLE_TABLES: Record<string, TableRunner> = {
  electionTally: (table: {
    cases: { size: number; votes: Record<string, boolean>; role: Role; term: number }[];
  }) =>
    table.cases.map(({ size, votes, role, term }) => () => {
      const ids = Array.from({ length: size }, (_, i) => i + 1);
      const host = new Host({ ...PLAIN, id: 1 }, { confState: voters(...ids) });
      host.node.campaign();
      host.settle();
      for (const [id, granted] of Object.entries(votes)) {
        host.node.step(say('requestVoteResponse', Number(id), 1, { term: host.node.term, reject: !granted }));
      }
      same([host.node.role, host.node.term], [role, term]);
    }),

  followerVote: (table: { cases: { votedFor: number; candidate: number; reject: boolean }[] }) =>
    table.cases.map(({ votedFor, candidate, reject }) => () => {
      const host = new Host({ ...PLAIN, id: 1 }, { confState: voters(1, 2, 3), term: 1, vote: votedFor });
      host.node.step(say('requestVote', candidate, 1, { term: 1 }));
      same(
        host.settle().map((answer) => answer.reject),
        [reject],
      );
    }),

  voter: (table: { cases: { log: Position[]; lastTerm: number; lastIndex: number; reject: boolean }[] }) =>
    table.cases.map(({ log, lastTerm, lastIndex, reject }) => () => {
      const host = new Host({ ...PLAIN, id: 1 }, { confState: voters(1, 2), log: termsOf(log) });
      host.node.step(say('requestVote', 2, 1, { term: 3, logTerm: lastTerm, index: lastIndex }));
      same(
        host.settle().map((answer) => answer.reject),
        [reject],
      );
    }),

  recvVote: (table: {
    log: Position[];
    cases: { role: Role; lastIndex: number; lastTerm: number; votedFor: number; reject: boolean }[];
  }) =>
    table.cases.map((test) => () => {
      for (const type of ['requestVote', 'requestPreVote'] satisfies MessageType[]) {
        const host = inRole(test.role, 3, termsOf(table.log), 2);
        const term = Math.max(2, test.lastTerm);
        host.core.term = term;
        host.core.vote = test.votedFor;
        host.core.messagesAfterAppend = [];
        host.node.step(say(type, 2, 1, { term, index: test.lastIndex, logTerm: test.lastTerm }));
        same(
          host.core.messagesAfterAppend.map((answer) => answer.reject),
          [test.reject],
          type,
        );
      }
    }),

  stateTransition: (table: {
    cases: { fromRole: Role; to: Role; allowed: boolean; term?: number; lead?: number }[];
  }) =>
    table.cases.map((test) => () => {
      if (!test.allowed) {
        same(roleEdges().has(`${test.fromRole} to ${test.to}`), false, 'edge of the chart');
        return;
      }
      const { core } = new Host({ ...PLAIN, id: 1 }, { confState: voters(1) });
      core.role = test.fromRole;
      if (test.to === 'follower') becomeFollower(core, test.term ?? 0, test.lead ?? 0);
      else if (test.to === 'preCandidate') becomePreCandidate(core);
      else if (test.to === 'candidate') becomeCandidate(core);
      else becomeLeader(core);
      same([core.role, core.term, core.lead], [test.to, test.term, test.lead]);
    }),

  allServerStepdown: (table: {
    cases: { role: Role; wantRole: Role; wantTerm: number; wantLastIndex: number }[];
  }) =>
    table.cases.map((test) => () => {
      for (const type of ['requestVote', 'appendEntries'] satisfies MessageType[]) {
        const host = inRole(test.role, 3);
        host.node.step(say(type, 2, 1, { term: 3, logTerm: 3 }));
        const { role, term, lastIndex, lead } = host.node.status();
        same([role, term, lastIndex], [test.wantRole, test.wantTerm, test.wantLastIndex], type);
        same(lead, type === 'appendEntries' ? 2 : 0, 'lead');
      }
    }),

  commit: (table: { cases: { match: number[]; log: Position[]; term: number; commit: number }[] }) =>
    table.cases.map((test) => () => {
      const ids = test.match.map((_, i) => i + 1);
      const { core } = new Host(
        { ...PLAIN, id: 1 },
        { confState: voters(...ids), log: termsOf(test.log), term: test.term },
      );
      for (const [id, member] of core.progress) {
        member.match = test.match[id - 1] ?? 0;
        member.next = member.match + 1;
      }
      maybeCommit(core);
      same(core.log.committed, test.commit);
    }),

  onlyCurrentTermCommits: (table: { cases: { ack: number; commit: number }[] }) =>
    table.cases.map(({ ack, commit }) => () => {
      const host = inRole('leader', 2, [1, 2], 2);
      same(host.node.term, 3, 'term');
      host.proposeAll('one');
      host.settle();
      host.node.step(say('appendEntriesResponse', 2, 1, { term: 3, index: ack }));
      same(host.node.commit, commit);
    }),

  figure7: (table: { leader: Position[]; leaderTerm: number; followers: Position[][] }) =>
    table.followers.map((follower) => () => {
      const confState = voters(1, 2, 3);
      const { leader, leaderTerm } = table;
      const one = new Host(
        { ...PLAIN, id: 1 },
        { confState, log: termsOf(leader), term: leaderTerm, commit: leader.length },
      );
      const two = new Host({ ...PLAIN, id: 2 }, { confState, log: termsOf(follower), term: leaderTerm - 1 });
      const network = new Network([one, two]);
      network.campaign(1);
      // The third peer exists for its vote only.
      network.send(say('requestVoteResponse', 3, 1, { term: leaderTerm + 1 }));
      network.propose(1, '');
      same(two.terms, one.terms, 'log');
      same(two.node.commit, one.node.commit, 'commit');
    }),

  readIndexSafe: (table: { cases: { askedAt: number; readIndex: number }[] }) => {
    const network = Network.of(3);
    network.campaign(1);
    return table.cases.map(({ askedAt, readIndex }) => () => {
      network.propose(1, ...Array.from({ length: 10 }, () => ''));
      const context = bytes(`read ${readIndex}`);
      network.host(askedAt).node.readIndex(context);
      network.settle();
      same(network.host(askedAt).readStates.pop(), { index: readIndex, context });
    });
  },

  duelingCandidates: (table: { want: Peers[] }) => {
    const network = Network.of(3);
    network.cut(1, 3);
    network.campaign(1);
    network.campaign(3);
    const before = [network.host(1).node.role, network.host(3).node.role];
    network.recover();
    network.campaign(3);
    return [
      () => same(before, ['leader', 'candidate'], 'while cut'),
      ...table.want.map((want) => () => {
        const { id, role, term, lastIndex } = network.host(want.id).node.status();
        same({ id, role, term, lastIndex }, want);
      }),
    ];
  },

  overwriteNewerLogs: (table: {
    nodes: { id: number; term: number; votedFor?: number; log: Position[] }[];
  }) => {
    const starts = table.nodes.map(({ id, term, votedFor, log }) => [
      id,
      { term, vote: votedFor ?? 0, log: termsOf(log) },
    ]);
    const network = Network.of(5, {}, Object.fromEntries(starts));
    network.campaign(1);
    const first = network.host(1).node.status();
    network.campaign(1);
    const second = network.host(1).node.status();
    return [
      () => same([first.role, first.term], ['follower', 2], 'first election'),
      () => same([second.role, second.term], ['leader', 3], 'second election'),
      ...table.nodes.map(
        ({ id }) =>
          () =>
            same(network.host(id).terms, [1, 3], `log of ${id}`),
      ),
    ];
  },
};
