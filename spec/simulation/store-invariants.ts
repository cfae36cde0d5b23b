import { createHash } from 'node:crypto';
import type { RaftGroup } from '../../cluster/raft/group.js';
import { INITIAL_LOG } from '../../cluster/raft/host.js';
import type { RawNode } from '../../machines/index.js';
import type { Message } from '../../machines/raft/types.js';
import type { Engine } from '../../storage/index.js';
import { raft_serverpb } from '../../storage/proto/index.js';
import type { RegionImage, StoreChange, StoreImage, StoreRecord } from './store-record.js';

/** One life of a store, from a start to its end. */
export interface StoreLife {
  /** Differs from every other life's of every store. */
  readonly title: string;
  readonly groups: Iterable<RaftGroup>;
  /** What its clock shows. */
  readonly now: number;
}

/** What is known of a group in a life under way. */
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
  readonly #watched = new Map<string, Watched>();
  /** The newest epoch that each store has told the scheduler, by store and region. */
  readonly #reported = new Map<string, { readonly confVer: number; readonly version: number }>();
  readonly #records: readonly StoreRecord[];
  readonly #majority: number;

  constructor(records: readonly StoreRecord[]) {
    this.#records = records;
    this.#majority = Math.floor(records.length / 2) + 1;
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
  #look(life: string, { id, raft, stopped, asleep }: RaftGroup): boolean {
    if (stopped) return false;
    const key = `${life}/${id}`;
    let watched = this.#watched.get(key);
    if (watched === undefined) {
      watched = { commit: INITIAL_LOG.index, ledTerm: 0, asleep: true };
      this.#watched.set(key, watched);
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
    for (let index = before + 1; index <= commit; index++) {
      const term = raft.termAt(index);
      // Behind a snapshot nothing is known of single entries.
      if (term < 0) continue;
      const known = committed[index];
      if (known === undefined) {
        committed[index] = term;
        committedIn[index] = raft.term;
        this.#isDurable(id, index, term);
      } else if (known !== term) {
        this.broken(
          `${life} committed (${index}, term ${term}) in group ${id} where (${index}, term ${known}) is committed`,
        );
      }
    }
  }

  #isDurable(id: number, index: number, term: number): void {
    let holders = 0;
    for (const { durable } of this.#records) if (durable.groups.get(id)?.holds(index, term)) holders++;
    if (holders >= this.#majority) return;
    this.broken(
      `the committed entry (${index}, term ${term}) of group ${id} is durable on ${holders} of ${this.#records.length} stores only`,
    );
  }

  /** Committed entries are never lost: whatever happened to a disk, a majority still has each of them. */
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
    if (change.kind === 'region') {
      this.#regionChanges(store, change.region, change.state, before.regions.get(change.region));
      return;
    }
    if (change.kind === 'other' || change.kind === 'remove') return;
    const image = before.group(change.group);
    if (change.kind === 'entry') {
      const { group, index, term, data } = change;
      this.#holds(store, group, index, term, image.termAt(index - 1), data);
    } else if (change.kind === 'applyState') {
      const { applied, truncated, group } = change;
      if (applied < image.applied)
        this.broken(
          `${store} takes the applied index of group ${group} back from ${image.applied} to ${applied}`,
        );
      if (truncated.index < image.truncated.index)
        this.broken(
          `${store} takes the beginning of log ${group} back from ${image.truncated.index} to ${truncated.index}`,
        );
      if (truncated.index > applied)
        this.broken(`${store} truncates log ${group} through ${truncated.index} and has applied ${applied}`);
    } else if (change.term < image.term) {
      this.broken(
        `${store} takes the term of group ${change.group} back from ${image.term} to ${change.term}`,
      );
    } else if (change.term === image.term && image.vote !== 0 && change.vote !== image.vote) {
      this.broken(
        `${store} gave its vote in term ${image.term} of group ${change.group} to ${image.vote}, and gives it to ${change.vote}`,
      );
    }
  }

  #regionChanges(store: string, region: number, to: RegionImage, from: RegionImage | undefined): void {
    if (from === undefined || !isOlder(to, from)) return;
    this.broken(`${store} takes region ${region} back from epoch ${epoch(from)} to ${epoch(to)}`);
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

  /** A leader told the scheduler about its region. */
  reports(store: string, region: number, said: { readonly confVer: number; readonly version: number }): void {
    const key = `${store}/${region}`;
    const before = this.#reported.get(key);
    if (before !== undefined && isOlder(said, before))
      this.broken(`${store} reports region ${region} at epoch ${epoch(said)}, after ${epoch(before)}`);
    this.#reported.set(key, said);
  }

  /**
   * What a start finds on the disk, beside what was durable there before: neither the applied index, nor a term, nor a
   * region that the scheduler has heard of, is older than it was.
   */
  found(store: string, image: StoreImage, durable: StoreImage): void {
    for (const [id, group] of durable.groups) {
      const { applied, term } = image.group(id);
      if (applied < group.applied)
        this.broken(
          `${store} starts group ${id} at applied index ${applied}, although ${group.applied} was durable`,
        );
      if (term < group.term)
        this.broken(`${store} starts group ${id} in term ${term}, although ${group.term} was durable`);
    }
    for (const [key, said] of this.#reported) {
      if (!key.startsWith(`${store}/`)) continue;
      const region = Number(key.slice(store.length + 1));
      const state = image.regions.get(region);
      if (state === undefined || isOlder(state, said))
        this.broken(
          `${store} starts with region ${region} at ${state === undefined ? 'nothing' : `epoch ${epoch(state)}`}, and has reported ${epoch(said)}`,
        );
    }
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

function isOlder(
  one: { readonly confVer: number; readonly version: number },
  than: { readonly confVer: number; readonly version: number },
): boolean {
  return one.confVer < than.confVer || one.version < than.version;
}

function epoch({ confVer, version }: { readonly confVer: number; readonly version: number }): string {
  return `${confVer}/${version}`;
}

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
