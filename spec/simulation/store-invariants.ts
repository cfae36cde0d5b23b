import { createHash } from 'node:crypto';
import type { RaftGroup } from '../../cluster/raft/group.js';
import { INITIAL_LOG } from '../../cluster/raft/initial-log.js';
import type { RawNode } from '../../machines/index.js';
import type { Message } from '../../machines/raft/types.js';
import type { Engine } from '../../storage/index.js';
import { raft_serverpb } from '../../storage/proto/index.js';
import { RegionInvariants } from './region-invariants.js';
import { GroupImage, isQuorum, type RegionImage, type StoreChange, type StoreImage } from './store-image.js';
import type { StoreRecord } from './store-record.js';

/** One life of a store, from a start to its end. */
export interface StoreLife {
  /** Differs from every other life's of every store. */
  readonly title: string;
  readonly groups: Iterable<RaftGroup>;
  /** What its clock shows. */
  readonly now: number;
}

/** The records of a cluster's stores, as the invariants look at them. */
export interface StoreBooks {
  readonly name: string;
  readonly record: StoreRecord;
}

/** What is known of a peer in a life under way. */
interface Watched {
  commit: number;
  /** Term in which it led when last looked at; 0 when it did not. */
  ledTerm: number;
  asleep: boolean;
}

/** What was written at a position of a log: equal positions must have equal histories. */
interface Position {
  previousTerm: number | undefined;
  readonly data: Uint8Array;
}

/** What is known of one Raft group, by whichever store. */
class GroupHistory {
  /** Leader of each term. */
  readonly leaders = new Map<number, string>();
  /** Term of each entry that some store knows to be committed, by index. */
  readonly committed: (number | undefined)[] = [];
  /** Term of the store that was first seen to know it: it was committed in this term, or before. */
  readonly committedIn: number[] = [];
  readonly positions = new Map<string, Position>();
  /** What the region's data looked like at an applied index, wherever it was first seen. */
  readonly states = new Map<number, { readonly hash: string; readonly seenAt: string }>();
}

/**
 * Raft's guarantees (Raft, figure 3), and what a store promises of its disk: committed means durable on a majority, nothing
 * that was made durable is taken back, and equal applied indexes mean equal data.
 *
 * `check` looks at every live store after every virtual event; the rest is told as it happens.
 */
export class StoreInvariants {
  /** The first that was broken, and how. */
  violation: string | undefined;
  /** How often a leader fell asleep. */
  rests = 0;
  readonly groups = new Map<number, GroupHistory>();
  readonly regions: RegionInvariants;
  /** A peer that comes back, or another in its place, is another group. */
  readonly #watched = new WeakMap<RaftGroup, Watched>();
  readonly #books: readonly StoreBooks[];

  constructor(books: readonly StoreBooks[]) {
    this.#books = books;
    this.regions = new RegionInvariants((sentence) => this.broken(sentence));
  }

  broken(sentence: string): void {
    this.violation ??= sentence;
  }

  get elections(): number {
    let count = 0;
    for (const { leaders } of this.groups.values()) count += leaders.size;
    return count;
  }

  get commits(): number {
    let count = 0;
    for (const { committed } of this.groups.values())
      count += Math.max(0, committed.length - 1 - INITIAL_LOG.index);
    return count;
  }

  /** After every event. */
  check(lives: readonly StoreLife[]): void {
    for (const { title, groups } of lives) {
      for (const group of groups) if (this.#look(title, group)) this.#leasesAreOver(title, group, lives);
    }
  }

  /** Nobody is elected while an earlier leader may still serve reads by its lease (Raft thesis 6.4.1). */
  #leasesAreOver(elected: string, { id, term }: RaftGroup, lives: readonly StoreLife[]): void {
    for (const { title, groups, now } of lives) {
      for (const other of groups) {
        if (other.id !== id || other.term >= term || !other.isLeader) continue;
        if (other.lease?.holds(other.term, now))
          this.broken(
            `${elected} leads term ${term} of group ${id}, and the lease of ${title} in term ${other.term} holds`,
          );
      }
    }
  }

  /** @returns whether it has just been elected */
  #look(life: string, group: RaftGroup): boolean {
    const { id, raft, stopped, asleep } = group;
    if (stopped) return false;
    let watched = this.#watched.get(group);
    if (watched === undefined) {
      // A peer that does not know its region yet knows of nothing that is committed.
      watched = { commit: Math.min(INITIAL_LOG.index, raft.commit), ledTerm: 0, asleep: true };
      this.#watched.set(group, watched);
    }
    const ledTerm = raft.role === 'leader' ? raft.term : 0;
    const { commit } = raft;
    if (asleep && !watched.asleep && ledTerm !== 0) this.rests++;
    watched.asleep = asleep;
    if (commit !== watched.commit) {
      this.#commits(life, id, raft, watched.commit);
      watched.commit = commit;
    }
    if (ledTerm === watched.ledTerm) return false;
    if (ledTerm !== 0) this.#leads(life, id, raft);
    watched.ledTerm = ledTerm;
    return ledTerm !== 0;
  }

  /**
   * Election safety: at most one leader a term. Leader completeness: it holds whatever was committed in earlier terms. (Whoever
   * wins late, when a later term has a leader already, need not hold what that one has committed.)
   */
  #leads(life: string, id: number, raft: RawNode): void {
    const { term, commit } = raft;
    this.#leader(life, id, term);
    const { committed, committedIn } = this.#group(id);
    for (let index = INITIAL_LOG.index + 1; index < committed.length; index++) {
      const known = committed[index];
      const own = raft.termAt(index);
      if ((committedIn[index] ?? 0) >= term) continue;
      // Compacted away is as good as there.
      if (known === undefined || own === known || (own < 0 && index <= commit)) continue;
      this.broken(
        `leader completeness: ${life} leads term ${term} of group ${id} without the committed entry (${index}, term ${known})`,
      );
    }
  }

  #leader(life: string, id: number, term: number): void {
    const { leaders } = this.#group(id);
    const known = leaders.get(term);
    if (known === undefined) leaders.set(term, life);
    else if (known !== life)
      this.broken(`election safety: ${known} and ${life} lead term ${term} of group ${id}`);
  }

  #commits(life: string, id: number, raft: RawNode, before: number): void {
    const { commit } = raft;
    const { committed, committedIn } = this.#group(id);
    if (commit < before)
      this.broken(`${life} took the commit index of group ${id} back from ${before} to ${commit}`);
    // Where every log of a group begins is part of the entry that made the group.
    for (let index = Math.max(before, INITIAL_LOG.index) + 1; index <= commit; index++) {
      const term = raft.termAt(index);
      // Behind a snapshot nothing is known of single entries.
      if (term < 0) continue;
      const known = committed[index];
      if (known === undefined) {
        committed[index] = term;
        committedIn[index] = raft.term;
        this.#isCommitted(life, id, index, raft);
      } else if (known !== term) {
        this.broken(
          `${life} committed (${index}, term ${term}) in group ${id} where (${index}, term ${known}) is committed`,
        );
      }
    }
  }

  /**
   * What a leader has just committed is durable on a majority of those who voted on it. That was the membership which it had
   * put in force by then: what it has now, or has on disk when one of these entries has just changed it.
   */
  #isCommitted(life: string, id: number, index: number, raft: RawNode): void {
    const term = raft.termAt(index);
    if (raft.role !== 'leader') return this.#isDurable(id, index, term);
    const holds = (peer: number) => this.#holdsDurably(id, peer, index, term);
    const { configuration } = raft.status();
    if (isQuorum(configuration, holds)) return;
    const own = this.#books.find(({ name }) => life.startsWith(`${name}.`));
    const stored = own?.record.stored.groups.get(id)?.voters;
    if (stored !== undefined && isQuorum(stored, holds)) return;
    // One that was removed by an entry before this one, which the leader has not applied, acknowledged this one and went: it votes
    // for nobody any more, and that it is removed is committed. So it is enough that nobody can go on without the entry.
    if (isQuorum(configuration, (peer) => holds(peer) || this.regions.hasEnded(peer)))
      return this.#isDurable(id, index, term);
    const { voters, outgoing } = configuration;
    const holders = [...new Set([...voters, ...outgoing])].filter(holds);
    this.broken(
      `the committed entry (${index}, term ${term}) of group ${id} is durable on peers ${holders.join(', ')} only, of ${voters.join(', ')} and ${outgoing.join(', ')}`,
    );
  }

  /** No quorum of the newest membership lacks it, so nobody can be elected without it. */
  #isDurable(id: number, index: number, term: number): void {
    const voters = this.regions.votersOf(id);
    if (voters === undefined) return;
    const lacks = (peer: number) => !this.#holdsDurably(id, peer, index, term);
    if (!isQuorum(voters, lacks)) return;
    this.broken(
      `the committed entry (${index}, term ${term}) of group ${id} is not durable on peers ${voters.voters.filter(lacks).join(', ')}, who could go on without it`,
    );
  }

  #holdsDurably(id: number, peer: number, index: number, term: number): boolean {
    const store = this.regions.storeOf(peer);
    const books = this.#books.find(({ name }) => name === store);
    return books?.record.durable.peerHolds(id, peer, index, term) ?? false;
  }

  /** Committed entries are never lost: whatever happened to a disk, nobody can go on without them. */
  checkDurability(): void {
    for (const [id, { committed }] of this.groups) {
      for (let index = INITIAL_LOG.index + 1; index < committed.length; index++) {
        const term = committed[index];
        if (term !== undefined) this.#isDurable(id, index, term);
      }
    }
  }

  /** Only leaders send appends and heartbeats; what they send must be the log that everybody has at these positions. */
  sent(life: string, group: number, { type, term, index, logTerm, entries }: Message): void {
    if (type !== 'appendEntries' && type !== 'heartbeat') return;
    this.#leader(life, group, term);
    let previousTerm = logTerm;
    for (const [i, entry] of entries.entries()) {
      this.#holds(life, group, index + 1 + i, entry.term, previousTerm, entry.data);
      previousTerm = entry.term;
    }
  }

  /** A store's disk is about to change: nothing goes back. */
  writes(store: string, change: StoreChange, before: StoreImage): void {
    switch (change.kind) {
      case 'region':
        return this.regions.writes(store, change.region, change.state, before.regions.get(change.region));
      case 'regionGone':
        return this.regions.collected(store, change.region);
      case 'entry': {
        const { group, index, term, data } = change;
        return this.#holds(store, group, index, term, before.groups.get(group)?.termAt(index - 1), data);
      }
      case 'applyState':
        return this.#applies(store, change, before);
      case 'hardState':
        return this.#promises(store, change, before);
    }
  }

  #applies(store: string, change: StoreChange & { readonly kind: 'applyState' }, before: StoreImage): void {
    const { applied, truncated, group } = change;
    const image = before.groups.get(group);
    if (truncated.index > applied)
      this.broken(`${store} truncates log ${group} through ${truncated.index} and has applied ${applied}`);
    if (image === undefined) return;
    if (applied < image.applied)
      this.broken(
        `${store} takes the applied index of group ${group} back from ${image.applied} to ${applied}`,
      );
    if (truncated.index < image.truncated.index)
      this.broken(
        `${store} takes the beginning of log ${group} back from ${image.truncated.index} to ${truncated.index}`,
      );
  }

  #promises(store: string, change: StoreChange & { readonly kind: 'hardState' }, before: StoreImage): void {
    const { group, term, vote } = change;
    const image = before.groups.get(group);
    if (image === undefined) return;
    if (term < image.term)
      this.broken(`${store} takes the term of group ${group} back from ${image.term} to ${term}`);
    else if (term === image.term && image.vote !== 0 && vote !== image.vote)
      this.broken(
        `${store} gave its vote in term ${image.term} of group ${group} to ${image.vote}, and gives it to ${vote}`,
      );
  }

  /** Log matching: logs that agree in index and term of an entry agree in it and, by induction, in all before it. */
  #holds(
    who: string,
    group: number,
    index: number,
    term: number,
    previousTerm: number | undefined,
    data: Uint8Array,
  ): void {
    const { positions } = this.#group(group);
    const key = `${index}/${term}`;
    const known = positions.get(key);
    if (known === undefined) {
      positions.set(key, { previousTerm, data: data.slice() });
      return;
    }
    if (
      previousTerm !== undefined &&
      known.previousTerm !== undefined &&
      known.previousTerm !== previousTerm
    ) {
      this.broken(
        `log matching: (${index}, term ${term}) of group ${group} follows term ${previousTerm} on ${who}, term ${known.previousTerm} elsewhere`,
      );
    }
    known.previousTerm ??= previousTerm;
    if (Buffer.compare(known.data, data) !== 0) {
      this.broken(`log matching: (${index}, term ${term}) of group ${group} holds another command on ${who}`);
    }
  }

  /**
   * What a start finds on the disk, beside what was durable there before: no entry is gone, and neither the applied index,
   * nor a term, nor a region that the scheduler has heard of, is older than it was.
   */
  found(store: string, name: string, image: StoreImage, durable: StoreImage): void {
    for (const [id, group] of durable.groups) {
      const { applied, term, truncated, terms } = image.groups.get(id) ?? NOTHING;
      if (!image.groups.has(id) && image.regions.get(id)?.state === raft_serverpb.PeerState.Tombstone)
        continue;
      if (applied < group.applied)
        this.broken(
          `${store} starts group ${id} at applied index ${applied}, although ${group.applied} was durable`,
        );
      if (term < group.term)
        this.broken(`${store} starts group ${id} in term ${term}, although ${group.term} was durable`);
      for (const index of group.terms.keys()) {
        // What another leader's entries have replaced was written, and is longer than it was.
        if (index > group.applied || index <= truncated.index || terms.has(index)) continue;
        this.broken(`${store} starts group ${id} without entry ${index}, which was durable and applied`);
      }
    }
    this.regions.found(store, name, image);
  }

  /** State machine safety, seen in the data: replicas at the same applied index hold the same. */
  async compare(seenAt: string, engine: Engine, image: StoreImage): Promise<void> {
    for (const [id, region] of image.regions) {
      if (region.state !== raft_serverpb.PeerState.Normal || !image.groups.has(id)) continue;
      const { applied } = image.group(id);
      const hash = await dataHash(engine, region);
      const { states } = this.#group(id);
      const known = states.get(applied);
      if (known === undefined) states.set(applied, { hash, seenAt });
      else if (known.hash !== hash)
        this.broken(
          `state machine safety: region ${id} at applied index ${applied} holds other data on ${seenAt} than on ${known.seenAt}`,
        );
    }
  }

  #group(id: number): GroupHistory {
    let group = this.groups.get(id);
    if (group === undefined) {
      group = new GroupHistory();
      this.groups.set(id, group);
    }
    return group;
  }
}

const NOTHING = new GroupImage();

async function dataHash(engine: Engine, { startKey, endKey }: RegionImage): Promise<string> {
  const hash = createHash('sha256');
  for (const cf of ['default', 'lock', 'write'] as const) {
    const { keys, values } = await engine.scan(cf, {
      start: startKey,
      end: endKey,
      limit: Number.MAX_SAFE_INTEGER,
    });
    hash.update(`${cf} ${keys.length}\n`);
    for (const [i, key] of keys.entries()) {
      const value = values[i] ?? key;
      hash.update(`${key.length} ${value.length} `);
      hash.update(key);
      hash.update(value);
    }
  }
  return hash.digest('hex');
}
