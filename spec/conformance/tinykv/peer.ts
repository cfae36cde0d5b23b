import { expect } from 'chai';
import { seededRandom } from '../../../actors/random.js';
import {
  type Entry,
  EntryType,
  type Message,
  type RaftOptions,
  type Ready,
  type Role,
} from '../../../machines/raft/index.js';
import { bytes, Host, Network, PLAIN, type Start, say, voters } from '../../machines/raft/network.js';

export interface PeerStart extends Omit<Start, 'confState'> {
  /** 1 where nothing is said. */
  readonly id?: number;
  /** 1, 2 and 3 where nothing is said. */
  readonly members?: readonly number[];
}

/** One peer, driven by hand. Each event returns the messages that leave because of it, in their order. */
export class Peer extends Host {
  /** The Readys that the last event led to. */
  readys: Ready[] = [];

  constructor({ id = 1, members = [1, 2, 3], ...start }: PeerStart = {}, options: Partial<RaftOptions> = {}) {
    super(
      { ...PLAIN, random: seededRandom(id), ...options, id },
      { ...start, confState: voters(...members) },
    );
    this.onReady = (ready) => this.readys.push(ready);
    this.settle();
  }

  tick(): Message[] {
    this.node.tick();
    return this.settle();
  }

  campaign(): Message[] {
    this.node.campaign();
    return this.settle();
  }

  propose(text: string): Message[] {
    expect(this.node.propose(bytes(text))).to.include({ ok: true });
    return this.settle();
  }

  step(message: Message): Message[] {
    expect(this.node.step(message)).to.equal(undefined);
    return this.settle();
  }

  override settle(): Message[] {
    this.readys = [];
    return super.settle();
  }
}

/** Group members 1 to `size`. */
export function membersOf(size: number): number[] {
  return Array.from({ length: size }, (_, i) => i + 1);
}

/** A fresh group of this size, some of whose members never answer. */
export function networkOf(
  size: number,
  silent: readonly number[],
  starts: Record<number, Start> = {},
): Network {
  const network = Network.of(size, {}, starts);
  for (const id of silent) network.hosts.delete(id);
  return network;
}

export function entry(index: number, term: number, text = ''): Entry {
  return { index, term, type: EntryType.normal, data: bytes(text) };
}

/** Makes the peer the leader of its next term. Returns the messages with which it takes office. */
export function elect(peer: Peer): Message[] {
  let sent = peer.campaign();
  for (const request of sent) {
    if (peer.node.role === 'leader') break;
    expect(request.type).to.equal('requestVote');
    sent = peer.step(vote(request));
  }
  expect(peer.node.role).to.equal('leader');
  return sent;
}

/** A peer that plays `role` at `term`. A leader's empty entry is not acknowledged yet. */
export function peerAs(role: Role, term: number, start: PeerStart = {}): Peer {
  const peer = new Peer({ ...start, term: role === 'follower' ? term : term - 1 });
  if (role === 'candidate') peer.campaign();
  if (role === 'leader') elect(peer);
  expect(peer.node).to.include({ role, term });
  return peer;
}

/** A leader of its first term whose empty entry all followers hold and know to be committed. */
export function settledLeader(start: PeerStart = {}): Peer {
  const leader = new Peer(start);
  const sent = elect(leader);
  for (const { type, entries } of sent) {
    expect(type).to.equal('appendEntries');
    expect(entries).to.deep.equal([entry(1, 1)]);
  }
  acknowledgeAll(leader, sent);
  expect(leader.node).to.include({ commit: 1, lastIndex: 1 });
  return leader;
}

/** The answer of a voter that grants, or does not. */
export function vote({ from, to, term }: Message, granted = true): Message {
  return say('requestVoteResponse', to, from, { term, reject: !granted });
}

/** The answer of a follower that took all entries of an append. */
export function acknowledgement({ from, to, term, index, entries }: Message): Message {
  return say('appendEntriesResponse', to, from, { term, index: index + entries.length });
}

/** Answers appends, and those that follow from the answers, as followers that take everything. */
export function acknowledgeAll(leader: Peer, appends: readonly Message[]): void {
  const queue = [...appends];
  for (const append of queue) queue.push(...leader.step(acknowledgement(append)));
}
