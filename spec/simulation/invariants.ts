import { INITIAL_LOG } from '../../cluster/raft/initial-log.js';
import type { RawNode } from '../../machines/index.js';
import type { Entry, Message } from '../../machines/raft/types.js';
import type { DiskRecord } from './disk-record.js';

/** One life of a node, from a start to its crash or stop. */
export interface Incarnation {
  /** Differs from every other life's of every node. */
  readonly life: string;
  readonly raft: RawNode;
}

/** What is known of a life under way. */
interface Watched {
  commit: number;
  /** Term in which it led when last looked at; 0 when it did not. */
  ledTerm: number;
}

/** What was written at a position of the log: equal positions must have equal histories. */
interface Position {
  readonly previousTerm: number;
  readonly data: Uint8Array;
}

/**
 * Raft's guarantees (Raft, figure 3), and this house's promise that committed means durable on a majority.
 *
 * `check` looks at every live node after every virtual event. Logs are compared where they leave a node's memory: in
 * the appends that it sends and in what it writes. An entry that never did either can mislead nobody, so that is as
 * good as looking at the memory of all nodes after each event, and costs one look per entry.
 */
export class Invariants {
  /** The first that was broken, and how. */
  violation: string | undefined;
  /** Leader of each term. */
  readonly leaders = new Map<number, string>();
  /** Term of each entry that some node knows to be committed, by index. */
  readonly committed: number[] = [];
  /** Term of the node that was first seen to know it: it was committed in this term, or before. */
  readonly #committedIn: number[] = [];
  /** Commands as first applied, by index. */
  readonly applied: (Entry | undefined)[] = [];
  readonly #positions = new Map<string, Position>();
  readonly #watched = new Map<string, Watched>();

  constructor(
    private readonly disks: readonly DiskRecord[],
    private readonly majority: number,
  ) {}

  /** Index of the last entry that is known to be committed. */
  get lastCommitted(): number {
    return Math.max(INITIAL_LOG.index, this.committed.length - 1);
  }

  broken(sentence: string): void {
    this.violation ??= sentence;
  }

  /** After every event. */
  check(incarnations: Iterable<Incarnation>): void {
    for (const { life, raft } of incarnations) {
      let watched = this.#watched.get(life);
      if (watched === undefined) {
        watched = { commit: INITIAL_LOG.index, ledTerm: 0 };
        this.#watched.set(life, watched);
      }
      const ledTerm = raft.role === 'leader' ? raft.term : 0;
      if (raft.commit !== watched.commit) {
        this.#commits(life, raft, watched.commit);
        if (ledTerm !== 0 && watched.ledTerm === ledTerm) this.#counted(life, raft);
        watched.commit = raft.commit;
      }
      if (ledTerm !== watched.ledTerm) {
        if (ledTerm !== 0) this.#leads(life, raft);
        watched.ledTerm = ledTerm;
      }
    }
  }

  /**
   * Election safety: at most one leader a term. Leader completeness: it holds whatever was committed in earlier terms. (Whoever
   * wins late, when a later term has a leader already, need not hold what that one has committed.)
   */
  #leads(life: string, raft: RawNode): void {
    const { term } = raft;
    const other = this.leaders.get(term);
    if (other !== undefined && other !== life)
      this.broken(`election safety: ${other} and ${life} lead term ${term}`);
    this.leaders.set(term, life);
    for (let index = INITIAL_LOG.index + 1; index <= this.lastCommitted; index++) {
      const committed = this.committed[index];
      if ((this.#committedIn[index] ?? 0) >= term || raft.termAt(index) === committed) continue;
      this.broken(
        `leader completeness: ${life} leads term ${term} without the committed entry (${index}, term ${committed})`,
      );
    }
  }

  #commits(life: string, raft: RawNode, before: number): void {
    const { commit } = raft;
    if (commit < before) this.broken(`${life} took its commit index back from ${before} to ${commit}`);
    for (let index = before + 1; index <= commit; index++) {
      const term = raft.termAt(index);
      const known = this.committed[index];
      if (known === undefined) {
        this.committed[index] = term;
        this.#committedIn[index] = raft.term;
        this.#isDurable(index);
      } else if (known !== term) {
        this.broken(
          `${life} committed (${index}, term ${term}) where (${index}, term ${known}) is committed`,
        );
      }
    }
  }

  /** A leader commits by counting replicas of its own term's entries only (Raft 5.4.2). */
  #counted(life: string, raft: RawNode): void {
    const term = raft.termAt(raft.commit);
    if (term === raft.term) return;
    this.broken(
      `${life}, leader of term ${raft.term}, committed (${raft.commit}, term ${term}) by counting replicas`,
    );
  }

  #isDurable(index: number): void {
    const term = this.committed[index];
    const holders = this.disks.filter((disk) => disk.durable.terms[index] === term).length;
    if (holders >= this.majority) return;
    this.broken(`the committed entry (${index}, term ${term}) is durable on ${holders} nodes only`);
  }

  /** Committed entries are never lost: whatever happened to a disk, a majority still has each of them. */
  checkDurability(): void {
    for (let index = INITIAL_LOG.index + 1; index <= this.lastCommitted; index++) this.#isDurable(index);
  }

  /** Only leaders send appends and heartbeats; what they send must be the log that everybody has at these positions. */
  sent(life: string, { type, term, index, logTerm, entries }: Message): void {
    if (type !== 'appendEntries' && type !== 'heartbeat') return;
    const leader = this.leaders.get(term);
    if (leader === undefined) this.leaders.set(term, life);
    else if (leader !== life)
      this.broken(`election safety: ${leader} and ${life} act as leaders of term ${term}`);
    let previousTerm = logTerm;
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i] as Entry;
      this.holds(life, index + 1 + i, entry.term, previousTerm, entry.data);
      previousTerm = entry.term;
    }
  }

  /** Log matching: logs that agree in index and term of an entry agree in it and, by induction, in all before it. */
  holds(life: string, index: number, term: number, previousTerm: number, data: Uint8Array): void {
    const key = `${index}/${term}`;
    const known = this.#positions.get(key);
    if (known === undefined) {
      this.#positions.set(key, { previousTerm, data: data.slice() });
    } else if (known.previousTerm !== previousTerm) {
      this.broken(
        `log matching: (${index}, term ${term}) follows term ${previousTerm} on ${life}, term ${known.previousTerm} elsewhere`,
      );
    } else if (Buffer.compare(known.data, data) !== 0) {
      this.broken(`log matching: (${index}, term ${term}) holds another command on ${life}`);
    }
  }

  /** State machine safety: every node applies the same commands at the same indexes, in order, once. */
  applies(life: string, before: number, entries: readonly Entry[]): void {
    let index = before;
    for (const entry of entries) {
      index++;
      if (entry.index !== index) this.broken(`${life} applied entry ${entry.index} where ${index} belongs`);
      const first = this.applied[entry.index];
      if (first === undefined) this.applied[entry.index] = { ...entry, data: entry.data.slice() };
      else if (first.term !== entry.term || Buffer.compare(first.data, entry.data) !== 0) {
        this.broken(
          `state machine safety: ${life} applied (${entry.index}, term ${entry.term}), another had applied term ${first.term} there`,
        );
      }
    }
  }
}
