import type { Message, RaftOptions, Role } from '../../../machines/index.js';
import { Host, PLAIN, type Start, say, seededRandom, voters } from './network.js';

/** Single peers that play a part, driven by hand: what the others would say is said by the spec. */

export interface PeerSettings extends Start {
  /** 1 where nothing is said. */
  readonly id?: number;
  /** Voters 1 to `size`; 3 where nothing is said. */
  readonly size?: number;
  readonly options?: Partial<RaftOptions>;
}

export function idsTo(size: number): number[] {
  return Array.from({ length: size }, (_, i) => i + 1);
}

export function peer({ id = 1, size = 3, options = {}, ...start }: PeerSettings = {}): Host {
  const settings = { ...PLAIN, random: seededRandom(id), ...options, id };
  return new Host(settings, { confState: voters(...idsTo(size)), ...start });
}

/** A peer in this role, at the term after the one it started with (a follower: at that term). */
export function peerAs(role: Role, settings: PeerSettings = {}): Host {
  const host = peer(settings);
  if (role === 'follower') return host;
  host.node.campaign();
  const requests = host.settle();
  if (role !== 'leader') return host;
  for (const { to, type, term } of requests) {
    const answer = type === 'requestPreVote' ? 'requestPreVoteResponse' : 'requestVoteResponse';
    if (host.node.role !== 'leader') host.node.step(say(answer, to, host.id, { term }));
  }
  return host;
}

/** A leader of term 1 whose empty entry everybody holds and knows to be committed. */
export function settledLeader(settings: PeerSettings = {}): Host {
  const host = peerAs('leader', settings);
  acknowledgeAll(host, host.settle());
  return host;
}

/** The answer of a follower that took all entries of an append. */
export function acknowledgement({ from, to, term, index, entries }: Message): Message {
  return say('appendEntriesResponse', to, from, { term, index: index + entries.length });
}

/** Answers appends, and what follows from the answers, as followers that take everything. */
export function acknowledgeAll(leader: Host, messages: readonly Message[]): void {
  const queue = [...messages];
  for (const message of queue) {
    if (message.type !== 'appendEntries') continue;
    leader.node.step(acknowledgement(message));
    queue.push(...leader.settle());
  }
}
