import {
  type Fetch,
  type InitialState,
  type Message,
  type RaftConfig,
  RawNode,
  type Ready,
  type SoftState,
  type Status,
  type StorageApply,
} from '../../machines/index.js';
import type { CommandLog, Outcome, RefusalCode, StateMachine } from './state-machine.js';

/** A proposal waits for the entry at its index; another term there means that it lost its place. */
interface Proposal {
  readonly index: number;
  readonly term: number;
  readonly done: (outcome: Outcome<unknown>) => void;
}

type ReadDone = (outcome: Outcome<void>) => void;

/** Reads of one ReadIndex round; `index` is set when the round is confirmed. */
interface ReadRound {
  readonly sequence: number;
  readonly term: number;
  readonly callbacks: ReadDone[];
  index: number;
}

/** Reads that may wait in one group before more are refused as `busy`. */
const MAX_WAITING_READS = 65_536;
/** Rounds under way at once: one on the wire, one that gathers what comes meanwhile. */
const MAX_READ_ROUNDS = 2;

/**
 * One replica of one Raft group: matches proposals and reads with what the core reports.
 *
 * It never touches the disk or the network: `RaftHost` takes its Readys, all groups of a turn together.
 */
export class RaftGroup implements CommandLog {
  readonly id: number;
  readonly peerId: number;
  readonly raft: RawNode;
  readonly #machine: StateMachine;
  readonly #touch: (group: RaftGroup) => void;
  readonly #proposals: Proposal[] = [];
  #firstProposal = 0;
  #gatheringReads: ReadDone[] = [];
  readonly #rounds: ReadRound[] = [];
  #waitingReads = 0;
  #readSequence = 0;
  #soft: SoftState = { lead: 0, role: 'follower' };
  #applied: number;
  #stopped = false;

  constructor(
    id: number,
    peerId: number,
    config: Partial<RaftConfig> & { random: () => number },
    initial: InitialState,
    machine: StateMachine,
    touch: (group: RaftGroup) => void,
  ) {
    this.id = id;
    this.peerId = peerId;
    this.#machine = machine;
    this.#touch = touch;
    this.#applied = initial.applied;
    this.raft = new RawNode({ ...config, id: peerId, asyncStorageWrites: true }, initial);
  }

  /** The peer that leads as far as this one knows; 0 for none. */
  get leader(): number {
    return this.#soft.lead;
  }

  get isLeader(): boolean {
    return !this.#stopped && this.#soft.role === 'leader';
  }

  get term(): number {
    return this.raft.term;
  }

  /** Applied and visible to reads. */
  get applied(): number {
    return this.#applied;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  status(): Status {
    return this.raft.status();
  }

  /**
   * Appends a command to the log. `done` is called exactly once: with the result of applying it, or a refusal.
   */
  propose(data: Uint8Array, done: (outcome: Outcome<unknown>) => void): void {
    if (this.#stopped) return done(this.#refusal('stopped'));
    if (!this.isLeader) return done(this.#refusal('not-leader'));
    const proposed = this.#guarded(() => this.raft.propose(data));
    if (proposed === undefined) return done(this.#refusal('stopped'));
    if (!proposed.ok) return done(this.#refusal(this.raft.role === 'leader' ? 'busy' : 'not-leader'));
    this.#proposals.push({ index: proposed.index, term: proposed.term, done });
    this.#touch(this);
  }

  /**
   * A linearizable point: `done` is called when this replica's applied state is at least as new as every write
   * that was acknowledged before the call (ReadIndex, Raft thesis 6.4). All reads of a turn share one round.
   */
  read(done: ReadDone): void {
    if (this.#stopped) return done(this.#refusal('stopped'));
    if (!this.isLeader) return done(this.#refusal('not-leader'));
    if (this.#waitingReads >= MAX_WAITING_READS) return done(this.#refusal('busy'));
    this.#waitingReads++;
    this.#gatheringReads.push(done);
    this.#touch(this);
  }

  /** Entries, or a snapshot, that were read for the core. */
  fetched(answer: (raft: RawNode) => void): void {
    if (this.#stopped) return;
    this.#guarded(() => answer(this.raft));
    this.#touch(this);
  }

  /** What the core wants read from disk since the last call. For the host. */
  fetches(): readonly Fetch[] {
    return this.#stopped ? [] : (this.#guarded(() => this.raft.fetches()) ?? []);
  }

  step(message: Message): void {
    if (this.#stopped) return;
    this.#guarded(() => this.raft.step(message));
    this.#touch(this);
  }

  tick(): void {
    if (this.#stopped) return;
    this.#guarded(() => this.raft.tick());
    if (this.raft.hasReady()) this.#touch(this);
  }

  campaign(): void {
    if (this.#stopped) return;
    this.#guarded(() => this.raft.campaign());
    this.#touch(this);
  }

  /** Takes what the core gathered, after the turn's reads have joined a round. For the host. */
  takeReady(): Ready | undefined {
    if (this.#stopped) return undefined;
    this.#dropOldRounds();
    this.#startReadRound();
    if (!this.raft.hasReady()) return undefined;
    const ready = this.#guarded(() => this.raft.ready());
    if (ready === undefined) return undefined;
    for (const state of ready.readStates) this.#confirmRound(readSequence(state.context), state.index);
    if (ready.softState !== undefined) this.#becomes(ready.softState);
    return ready;
  }

  /** These entries are evaluated: answers their proposers. They are durable on a majority, so nothing can undo them. */
  answer({ entries }: StorageApply, results: readonly unknown[]): void {
    for (const [i, entry] of entries.entries()) this.#answer(entry.index, entry.term, results[i]);
  }

  /** The batch with these entries is visible: the reads that waited for them may be served. */
  entriesApplied({ entries, responses }: StorageApply): void {
    this.#applied = entries.at(-1)?.index ?? this.#applied;
    for (const response of responses) this.step(response);
    this.#machine.applied?.(this.#applied);
    this.#serveRounds();
  }

  /** A confirmed read waits for entries whose changes are not visible yet. */
  get waitsForApplied(): boolean {
    return this.#rounds.some((round) => round.index > this.#applied);
  }

  needsReads({ entries }: StorageApply): boolean {
    return this.#machine.needsReads?.(entries) ?? false;
  }

  apply(apply: StorageApply, batch: Parameters<StateMachine['apply']>[1]): ReturnType<StateMachine['apply']> {
    return this.#machine.apply(apply.entries, batch);
  }

  /** Answers everyone who waits. Proposals under way have an unknown outcome. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    const proposals = this.#proposals.splice(0).slice(this.#firstProposal);
    this.#firstProposal = 0;
    for (const proposal of proposals) proposal.done(this.#refusal('undetermined'));
    this.#failReads('stopped');
  }

  /** Stops this group and tells its owner why: a broken invariant must not spread (and not take the process down). */
  fail(error: Error): void {
    if (this.#stopped) return;
    this.stop();
    this.#machine.failed?.(error);
  }

  #guarded<T>(call: () => T): T | undefined {
    try {
      return call();
    } catch (error) {
      // Whatever the core threw, its state can no longer be trusted: this group ends, the others and the process go on.
      this.fail(error instanceof Error ? error : new Error(String(error)));
      return undefined;
    }
  }

  #refusal(code: RefusalCode): { ok: false; code: RefusalCode; leader: number } {
    return { ok: false, code, leader: this.#soft.lead };
  }

  #becomes(soft: SoftState): void {
    const led = this.isLeader;
    this.#soft = soft;
    if (led && !this.isLeader) this.#failReads('not-leader');
    this.#machine.roleChanged?.(soft, this.raft.term);
  }

  #answer(index: number, term: number, result: unknown): void {
    while (this.#firstProposal < this.#proposals.length) {
      const proposal = this.#proposals[this.#firstProposal];
      // In the order of terms, then indexes. Terms never fall along a log, so a committed entry of a later term ends all
      // older proposals, wherever they stood. Before that, one that is gone from this log may still be in another's.
      if (proposal === undefined || proposal.term > term) break;
      if (proposal.term === term && proposal.index > index) break;
      this.#firstProposal++;
      if (proposal.index === index && proposal.term === term) proposal.done({ ok: true, result });
      else proposal.done(this.#refusal('stale-command'));
    }
    if (this.#firstProposal === this.#proposals.length) {
      this.#proposals.length = 0;
      this.#firstProposal = 0;
    } else if (this.#firstProposal > 1024) {
      this.#proposals.splice(0, this.#firstProposal);
      this.#firstProposal = 0;
    }
  }

  /** Leadership may have been lost and won again since the last Ready: the core has forgotten what it was asked before. */
  #dropOldRounds(): void {
    while (this.#rounds[0] !== undefined && this.#rounds[0].term !== this.raft.term) {
      const round = this.#rounds.shift();
      if (round !== undefined) this.#finishRound(round, this.#refusal('not-leader'));
    }
  }

  #startReadRound(): void {
    if (this.#gatheringReads.length === 0 || this.#rounds.length >= MAX_READ_ROUNDS) return;
    const callbacks = this.#gatheringReads;
    this.#gatheringReads = [];
    const sequence = ++this.#readSequence;
    const round: ReadRound = { sequence, term: this.raft.term, callbacks, index: 0 };
    this.#rounds.push(round);
    const error = this.#guarded(() => this.raft.readIndex(readContext(sequence)));
    if (error !== undefined) {
      this.#rounds.splice(this.#rounds.indexOf(round), 1);
      this.#finishRound(round, this.#refusal('not-leader'));
    }
  }

  #confirmRound(sequence: number, index: number): void {
    const round = this.#rounds.find((one) => one.sequence === sequence);
    if (round === undefined) return;
    round.index = index;
    this.#serveRounds();
  }

  #serveRounds(): void {
    for (let i = 0; i < this.#rounds.length; ) {
      const round = this.#rounds[i];
      if (round === undefined || round.index === 0 || round.index > this.#applied) {
        i++;
        continue;
      }
      this.#rounds.splice(i, 1);
      this.#finishRound(round, { ok: true, result: undefined });
      if (this.#gatheringReads.length > 0) this.#touch(this);
    }
  }

  #finishRound(round: ReadRound, outcome: Outcome<void>): void {
    this.#waitingReads -= round.callbacks.length;
    for (const done of round.callbacks) done(outcome);
  }

  #failReads(code: RefusalCode): void {
    const rounds = this.#rounds.splice(0);
    const gathering = this.#gatheringReads;
    this.#gatheringReads = [];
    this.#waitingReads -= gathering.length;
    for (const round of rounds) this.#finishRound(round, this.#refusal(code));
    for (const done of gathering) done(this.#refusal(code));
  }
}

function readContext(sequence: number): Uint8Array {
  const context = new Uint8Array(8);
  new DataView(context.buffer).setFloat64(0, sequence);
  return context;
}

function readSequence(context: Uint8Array): number {
  return new DataView(context.buffer, context.byteOffset, 8).getFloat64(0);
}
