import { expect } from 'chai';
import { seededRandom } from '../../../actors/random.js';
import {
  type Entry,
  EntryType,
  type Message,
  makeMessage,
  type RaftOptions,
  RawNode,
  type Ready,
  type Role,
} from '../../../machines/index.js';
import { MemoryStorage } from '../etcd/memory-storage.js';

const NO_DATA = new Uint8Array(0);

/** What a peer finds on its disk when it starts, and how it differs from TinyKV's settings. */
export interface PeerOptions extends Partial<RaftOptions> {
  /** 1 where nothing is said. */
  readonly id?: number;
  /** 1, 2 and 3 where nothing is said. */
  readonly voters?: readonly number[];
  readonly term?: number;
  readonly vote?: number;
  readonly commit?: number;
  /** Terms of the entries, from index 1 on. */
  readonly log?: readonly number[];
}

/**
 * A RawNode with a host that does at once what a Ready asks for: no event is handled before everything that the last
 * one asked for is on disk, sent and applied. What stands on disk at the start is read back from there when needed.
 */
export class Peer {
  readonly disk: MemoryStorage;
  readonly node: RawNode;
  /** Committed entries, in the order in which they were handed out. */
  readonly applied: Entry[] = [];
  /** The Readys that the last event led to. */
  readys: Ready[] = [];

  constructor(options: PeerOptions = {}) {
    const { id = 1, voters = [1, 2, 3], term = 0, vote = 0, commit = 0, log = [], ...settings } = options;
    const confState = { voters, votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false };
    this.disk = new MemoryStorage({ index: 0, term: 0, confState, data: NO_DATA });
    this.disk.hardState = { term, vote, commit };
    this.disk.append(entriesOf(log));
    this.node = new RawNode(
      {
        id,
        random: seededRandom(id),
        electionTick: 10,
        heartbeatTick: 1,
        maxSizePerMsg: Number.MAX_SAFE_INTEGER,
        maxInflightBytes: 0,
        preVote: false,
        checkQuorum: false,
        ...settings,
      },
      { ...this.disk.initialState(), entries: [] },
    );
    this.settle();
  }

  // Each event returns the messages that leave because of it, in their order.

  tick(): Message[] {
    this.node.tick();
    return this.settle();
  }

  campaign(): Message[] {
    this.node.campaign();
    return this.settle();
  }

  propose(text: string): Message[] {
    expect(this.node.propose(Buffer.from(text))).to.include({ ok: true });
    return this.settle();
  }

  step(message: Message): Message[] {
    expect(this.node.step(message)).to.equal(undefined);
    return this.settle();
  }

  settle(): Message[] {
    const { node, disk } = this;
    const sent: Message[] = [];
    this.readys = [];
    for (;;) {
      for (const fetch of node.fetches()) {
        if (fetch.kind === 'snapshot') node.snapshotFetched(fetch, undefined);
        else node.entriesFetched(fetch, disk.read(fetch.low, fetch.high, fetch.maxBytes));
      }
      if (!node.hasReady()) return sent;
      const ready = node.ready();
      this.readys.push(ready);
      disk.append(ready.entries);
      if (ready.hardState !== undefined) disk.hardState = ready.hardState;
      sent.push(...ready.messages);
      this.applied.push(...ready.committedEntries);
      node.advance();
    }
  }

  /** Terms of the whole log. */
  get logTerms(): number[] {
    return this.disk.entries.map(({ term }) => term);
  }

  /** Data of what was applied, without the empty entries of elections. */
  get appliedTexts(): string[] {
    return this.applied.filter(({ data }) => data.length > 0).map(({ data }) => Buffer.from(data).toString());
  }
}

export function entry(index: number, term: number, text = ''): Entry {
  return { index, term, type: EntryType.normal, data: text === '' ? NO_DATA : Buffer.from(text) };
}

/** Empty entries of these terms, from index 1 on. */
export function entriesOf(terms: readonly number[]): Entry[] {
  return terms.map((term, i) => entry(i + 1, term));
}

/** Makes the peer the leader of its next term. Returns the messages with which it takes office. */
export function elect(peer: Peer): Message[] {
  let sent = peer.campaign();
  for (const request of sent) {
    if (peer.node.role === 'leader') break;
    expect(request.type).to.equal('requestVote');
    sent = peer.step(voteFor(request));
  }
  expect(peer.node.role).to.equal('leader');
  return sent;
}

/** A peer that plays `role` at `term`. A leader's empty entry is not acknowledged yet. */
export function peerAs(role: Role, term: number, options: PeerOptions = {}): Peer {
  const peer = new Peer({ ...options, term: role === 'follower' ? term : term - 1 });
  if (role === 'candidate') peer.campaign();
  if (role === 'leader') elect(peer);
  expect(peer.node).to.include({ role, term });
  return peer;
}

/** A leader whose empty entry all followers hold and know to be committed. */
export function settledLeader(options: PeerOptions = {}): Peer {
  const leader = new Peer(options);
  const sent = elect(leader);
  for (const { type, entries } of sent) {
    expect(type).to.equal('appendEntries');
    expect(entries).to.deep.equal([entry(leader.node.lastIndex, leader.node.term)]);
  }
  acknowledgeAll(leader, sent);
  expect(leader.node.commit).to.equal(leader.node.lastIndex);
  return leader;
}

/** The answer of a voter that grants, or does not. */
export function voteFor(request: Message, granted = true): Message {
  const { from, to, term } = request;
  return makeMessage({ type: 'requestVoteResponse', from: to, to: from, term, reject: !granted });
}

/** The answer of a follower that took all entries of an append. */
export function acknowledgement(append: Message): Message {
  const { from, to, term, index, entries } = append;
  return makeMessage({ type: 'appendEntriesResponse', from: to, to: from, term, index: index + entries.length });
}

/** Answers appends, and those that follow from the answers, as followers that take everything. */
export function acknowledgeAll(leader: Peer, appends: readonly Message[]): void {
  const queue = [...appends];
  for (const append of queue) queue.push(...leader.step(acknowledgement(append)));
}
