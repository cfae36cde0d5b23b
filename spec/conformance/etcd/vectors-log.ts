import { throws } from 'node:assert';
import { type Entry, EntryType, RaftInvariantError } from '../../../machines/index.js';
import { RaftLog } from '../../../machines/raft/log.js';
import { isLogSlice } from '../../../machines/raft/message.js';
import { MemoryStorage } from '../../machines/raft/memory-storage.js';
import { Host, PLAIN, say, voters } from '../../machines/raft/network.js';
import { same, type TableRunner } from './check.js';

/** The log's own tables, and what a follower answers to appends. */

export interface Position {
  readonly index: number;
  readonly term: number;
}

export function toEntries(positions: readonly Position[]): Entry[] {
  return positions.map(({ index, term }) => ({
    index,
    term,
    type: EntryType.normal,
    data: new Uint8Array(0),
  }));
}

export function termsOf(positions: readonly Position[]): number[] {
  return positions.map(({ term }) => term);
}

function logOf(positions: readonly Position[], before: Position = { index: 0, term: 0 }): RaftLog {
  const storage = new MemoryStorage({ ...before, confState: voters(), data: new Uint8Array(0) });
  storage.append(toEntries(positions));
  const limits = {
    maxCachedBytes: Number.POSITIVE_INFINITY,
    maxCommittedSizePerReady: Number.POSITIVE_INFINITY,
  };
  return new RaftLog(storage.initialState(), limits);
}

interface AppendCase {
  readonly prev: Position;
  readonly leaderCommit: number;
  readonly entries: readonly Position[];
  readonly accepted?: boolean;
  readonly lastNewIndex?: number;
  readonly commit?: number;
  readonly panics?: boolean;
}

interface MessageCase {
  readonly term: number;
  readonly prevTerm: number;
  readonly prevIndex: number;
  readonly leaderCommit: number;
  readonly entries: readonly Position[];
  readonly want: Record<string, unknown>;
}

export const LOG_TABLES: Record<string, TableRunner> = {
  findConflict: (table: { log: Position[]; cases: { entries: Position[]; conflictIndex: number }[] }) =>
    table.cases.map(({ entries, conflictIndex }) => () => {
      const first = logOf(table.log).firstConflict(toEntries(entries));
      same(entries[first]?.index ?? 0, conflictIndex);
    }),

  findConflictByTerm: (table: {
    cases: { snapshot: Position; entries: Position[]; index: number; term: number; want: number }[];
  }) =>
    table.cases.map(({ snapshot, entries, index, term, want }) => () => {
      const log = logOf(entries, snapshot);
      const found = log.findConflictByTerm(index, term);
      same(found.index, want);
      same(found.term, Math.max(0, log.term(want)), 'term');
    }),

  isUpToDate: (table: {
    log: Position[];
    cases: { lastIndex: number; lastTerm: number; upToDate: boolean }[];
  }) =>
    table.cases.map(({ lastIndex, lastTerm, upToDate }) => () => {
      same(logOf(table.log).isUpToDate(lastIndex, lastTerm), upToDate);
    }),

  maybeAppend: (table: { log: Position[]; commit: number; cases: AppendCase[] }) =>
    table.cases.map((test) => () => {
      const log = logOf(table.log);
      log.commitTo(table.commit);
      const append = () =>
        log.maybeAppend(test.prev.index, test.prev.term, test.leaderCommit, toEntries(test.entries));
      if (test.panics) {
        throws(append, RaftInvariantError);
        return;
      }
      const last = append();
      same(last >= 0, test.accepted, 'accepted');
      same(Math.max(0, last), test.lastNewIndex, 'last new index');
      same(log.committed, test.commit, 'commit');
      if (last < 0 || test.entries.length === 0) return;
      const kept = log.slice(
        log.lastIndex - test.entries.length + 1,
        log.lastIndex + 1,
        Number.POSITIVE_INFINITY,
      );
      same(kept, toEntries(test.entries), 'entries');
    }),

  logSliceValid: (table: {
    cases: { leaderTerm: number; prev: Position; entries: Position[]; valid: boolean; last?: Position }[];
  }) =>
    table.cases.map(({ leaderTerm, prev, entries, valid, last }) => () => {
      same(isLogSlice(leaderTerm, prev.index, prev.term, toEntries(entries)), valid);
      if (valid) same(entries.at(-1) ?? prev, last, 'last');
    }),

  handleAppend: (table: {
    log: Position[];
    startCommit: number;
    followerTerm: number;
    cases: MessageCase[];
  }) =>
    table.cases.map((test) => () => {
      const host = new Host(
        { ...PLAIN, id: 1 },
        {
          confState: voters(1),
          log: termsOf(table.log),
          term: table.followerTerm,
          commit: table.startCommit,
        },
      );
      const append = say('appendEntries', 2, 1, {
        // etcd hands the message to the handler: a lower term would be answered before it gets there.
        term: table.followerTerm,
        logTerm: test.prevTerm,
        index: test.prevIndex,
        commit: test.leaderCommit,
        entries: toEntries(test.entries),
      });
      host.node.step(append);
      const [response] = host.core.messagesAfterAppend;
      const { lastIndex, commit } = host.node.status();
      same({ lastIndex, commit, reject: response?.reject }, test.want);
    }),

  followerAppend: (table: {
    log: Position[];
    cases: {
      prevIndex: number;
      prevTerm: number;
      entries: Position[];
      want: { log: Position[]; newUnstable: Position[] };
    }[];
  }) =>
    table.cases.map((test) => () => {
      const host = new Host({ ...PLAIN, id: 1 }, { confState: voters(1, 2, 3), log: termsOf(table.log) });
      const append = say('appendEntries', 2, 1, {
        term: 2,
        logTerm: test.prevTerm,
        index: test.prevIndex,
        // Tables give entries of later terms than the message's leader: what matters is what the log does with them.
        entries: toEntries(test.entries),
      });
      host.core.term = 2;
      host.node.actor.send(append as never);
      same(host.terms, termsOf(test.want.log), 'log');
      same(host.core.log.nextUnstableEntries(), toEntries(test.want.newUnstable), 'unstable');
    }),

  followerCheckAppend: (table: {
    log: Position[];
    commit: number;
    term: number;
    cases: {
      prevTerm: number;
      prevIndex: number;
      want: { respIndex: number; reject: boolean; rejectHint?: number; hintTerm?: number };
    }[];
  }) =>
    table.cases.map((test) => () => {
      const { commit, term, log } = table;
      const host = new Host({ ...PLAIN, id: 1 }, { confState: voters(1, 2, 3), log: termsOf(log), commit });
      host.node.step(say('appendEntries', 2, 1, { term, logTerm: test.prevTerm, index: test.prevIndex }));
      const [response] = host.settle().filter(({ type }) => type === 'appendEntriesResponse');
      const { respIndex, reject, rejectHint = 0, hintTerm = 0 } = test.want;
      same(
        [response?.index, response?.reject, response?.rejectHint, response?.logTerm],
        [respIndex, reject, rejectHint, hintTerm],
      );
    }),

  fastLogRejection: (table: {
    cases: {
      leader: Position[];
      follower: Position[];
      followerCompactedTo: number;
      firstProbePrev: Position;
      want: { hintIndex: number; hintTerm: number; nextPrevIndex: number; nextPrevTerm: number };
    }[];
  }) =>
    table.cases.map(({ leader, follower, followerCompactedTo, firstProbePrev, want }) => () => {
      const confState = voters(1, 2);
      const term = leader.at(-1)?.term ?? 0;
      const one = new Host({ ...PLAIN, id: 1 }, { confState, log: termsOf(leader), term });
      const two = new Host({ ...PLAIN, id: 2 }, { confState, log: termsOf(follower), term, vote: 1 });
      if (followerCompactedTo > 0) {
        // A follower whose commit index lags behind what it has compacted: etcd's test makes one in the same way.
        const { log } = two.core;
        log.committed = followerCompactedTo;
        log.skipTo(followerCompactedTo);
        log.compact(followerCompactedTo);
        log.committed = 0;
      }
      one.node.campaign();
      one.settle();
      one.node.step(say('requestVoteResponse', 2, 1, { term: one.node.term }));
      const [probe] = one.settle();
      same([probe?.index, probe?.logTerm], [firstProbePrev.index, firstProbePrev.term], 'first probe');
      // etcd's test takes the first probe as one without entries, behind the log before the election.
      two.node.step(say('appendEntries', 1, 2, { term: one.node.term, ...at(firstProbePrev) }));
      const [rejection] = two.core.messagesAfterAppend;
      same([rejection?.rejectHint, rejection?.logTerm], [want.hintIndex, want.hintTerm], 'hint');
      if (rejection === undefined) return;
      one.node.step(rejection);
      const [next] = one.settle();
      same([next?.index, next?.logTerm], [want.nextPrevIndex, want.nextPrevTerm], 'next probe');
    }),
};

function at({ index, term }: Position): { index: number; logTerm: number } {
  return { index, logTerm: term };
}
