import type { Clock } from '../../actors/index.js';
import {
  type ConfChange,
  type ConfState,
  DEFAULT_RAFT_CONFIG,
  type Entry,
  type Fetch,
  type InitialState,
  type Message,
  type RaftConfig,
  RaftError,
  RawNode,
  type Ready,
  type Snapshot,
  type SoftState,
  type Status,
  type StorageApply,
} from '../../machines/index.js';
import { comesFromLeader, isTransferMarker } from '../../machines/raft/message.js';
import type { WriteBatch } from '../../storage/index.js';
import { Hibernation, type HibernationOptions } from './hibernation.js';
import { LeaderLease } from './leader-lease.js';
import { type ReadDone, ReadRounds } from './read-rounds.js';
import type { RestingGroup, RestNotice } from './resting-group.js';
import type {
  ApplyEffects,
  CommandLog,
  EntryRun,
  LogDeletion,
  Outcome,
  RefusalCode,
  StateMachine,
} from './state-machine.js';

/** A proposal waits for the entry at its index; another term there means that it lost its place. */
interface Proposal {
  readonly index: number;
  readonly term: number;
  readonly done: (outcome: Outcome<unknown>) => void;
  readonly visible: (() => void) | undefined;
}

/** Who waits for a command of its own to be visible to reads. */
interface Unseen {
  readonly index: number;
  readonly visible: () => void;
}

export interface RaftGroupOptions {
  readonly id: number;
  readonly peerId: number;
  readonly config: Partial<RaftConfig> & { readonly random: () => number };
  readonly initial: InitialState;
  readonly machine: StateMachine;
  readonly clock: Clock;
  /** Milliseconds of the base election timeout when leaders serve reads by lease; without it they ask at each read. */
  readonly leaseTimeout?: number | undefined;
  /** Absent where the group never rests. */
  readonly hibernation?: HibernationOptions | undefined;
  /** Something happened to the group: its Ready should be taken. */
  readonly touch: (group: RaftGroup) => void;
}

/**
 * One replica of one Raft group: matches proposals and reads with what the core reports.
 *
 * It never touches the disk or the network: `RaftHost` takes its Readys, all groups of a turn together.
 */
export class RaftGroup implements CommandLog, RestingGroup {
  readonly id: number;
  readonly peerId: number;
  readonly raft: RawNode;
  /** `undefined` when reads are confirmed one round each. */
  readonly lease: LeaderLease | undefined;
  readonly #hibernation: Hibernation | undefined;
  readonly #machine: StateMachine;
  readonly #clock: Clock;
  readonly #touch: (group: RaftGroup) => void;
  readonly #electionTicks: number;
  readonly #proposals: Proposal[] = [];
  #firstProposal = 0;
  /** In the order of the log. */
  #unseen: Unseen[] = [];
  readonly #reads: ReadRounds;
  #soft: SoftState = { lead: 0, role: 'follower' };
  #applied: number;
  #committed: number;
  /** Ticks since a leader was heard, or since the start: who just heard may have confirmed that leader's lease. */
  #quietTicks = 0;
  /** A leader was heard since the start. */
  #heard = false;
  /** A received snapshot is being brought in. */
  #installing = false;
  #stopped = false;

  constructor(options: RaftGroupOptions) {
    const { id, peerId, config, initial, machine, clock, leaseTimeout, hibernation, touch } = options;
    this.id = id;
    this.peerId = peerId;
    this.#machine = machine;
    this.#clock = clock;
    this.#touch = touch;
    this.#applied = initial.applied;
    this.#committed = initial.hardState.commit;
    this.lease = leaseTimeout === undefined ? undefined : new LeaderLease(leaseTimeout);
    this.#reads = new ReadRounds(this.lease);
    this.raft = new RawNode({ ...config, id: peerId, asyncStorageWrites: true }, initial);
    this.#electionTicks = config.electionTick ?? DEFAULT_RAFT_CONFIG.electionTick;
    this.#hibernation = hibernation && new Hibernation(this, hibernation);
  }

  /** The peer that leads as far as this one knows; 0 for none. */
  get leader(): number {
    return this.#soft.lead;
  }

  get isLeader(): boolean {
    return !this.#stopped && this.#soft.role === 'leader';
  }

  /** A leader has applied an entry of its own term, so everything before it: what it checks is the newest there is. */
  get appliedInTerm(): boolean {
    return this.isLeader && this.raft.termAt(this.raft.applied) === this.raft.term;
  }

  get term(): number {
    return this.raft.term;
  }

  /** Applied and visible to reads. */
  get applied(): number {
    return this.#applied;
  }

  /** Ticks since a leader was heard, or since the start. */
  get quietTicks(): number {
    return this.#quietTicks;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  status(): Status {
    return this.raft.status();
  }

  /**
   * Appends a command to the log. `done` is called exactly once: with the result of applying it, or a refusal.
   * @param visible see `CommandLog.propose`
   */
  propose(
    data: Uint8Array,
    done: (outcome: Outcome<unknown>) => void,
    urgent = false,
    visible?: () => void,
  ): void {
    if (this.#stopped) return done(this.#refusal('stopped'));
    if (!this.isLeader) return done(this.#refusal('not-leader'));
    this.#requested();
    const proposed = this.#guarded(() => this.raft.propose(data));
    if (proposed === undefined) return done(this.#refusal('stopped'));
    if (!proposed.ok) return done(this.#refusal(this.raft.role === 'leader' ? 'busy' : 'not-leader'));
    if (urgent) this.raft.hurryCommit(proposed.index);
    this.#proposals.push({ index: proposed.index, term: proposed.term, done, visible });
    this.#touch(this);
  }

  /**
   * Appends a membership change to the log. `done` is called exactly once, unless it is refused.
   * @returns why the core refuses it: then nothing happened.
   */
  proposeConfChange(change: ConfChange, done: (outcome: Outcome<unknown>) => void): RaftError | undefined {
    if (this.#stopped || !this.isLeader) {
      done(this.#refusal(this.#stopped ? 'stopped' : 'not-leader'));
      return undefined;
    }
    this.#requested();
    const proposed = this.#guarded(() => this.raft.proposeConfChange(change));
    this.#touch(this);
    if (proposed === undefined) {
      done(this.#refusal('stopped'));
      return undefined;
    }
    if (!proposed.ok) return proposed.error;
    this.raft.hurryCommit(proposed.index);
    this.#proposals.push({ index: proposed.index, term: proposed.term, done, visible: undefined });
    return undefined;
  }

  /** Puts a membership change in force whose entry is being evaluated. @throws RaftInvariantError */
  applyConfChange(change: ConfChange): ConfState {
    const state = this.raft.applyConfChange(change);
    this.#touch(this);
    return state;
  }

  /** Takes entries that are known to be committed, from elsewhere than a leader. */
  adoptCommitted(entries: readonly Entry[], commit: number): void {
    if (this.#stopped) return;
    this.wake();
    this.#guarded(() => this.raft.adoptCommitted(entries, commit));
    this.#touch(this);
  }

  /**
   * A linearizable point: `done` is called when this replica's applied state is at least as new as every write
   * that was acknowledged before the call (ReadIndex or lease, Raft thesis 6.4). All reads of a turn share one round.
   */
  read(done: ReadDone): void {
    if (this.#stopped) return done(this.#refusal('stopped'));
    if (!this.isLeader) return done(this.#refusal('not-leader'));
    this.#requested();
    if (this.#reads.full) return done(this.#refusal('busy'));
    if (this.lease?.holds(this.term, this.#clock.now())) {
      if (this.#committed <= this.#applied) return done({ ok: true, result: undefined });
      this.#reads.addConfirmed(this.term, this.#committed, done);
    } else {
      this.#reads.add(done);
    }
    this.#touch(this);
  }

  /**
   * Moves leadership to another voter: its log is brought up first, and no proposal is taken meanwhile. Given up after
   * one election timeout.
   * @returns why it cannot be; nothing has changed then.
   */
  transferLeader(peer: number): RaftError | undefined {
    if (this.#stopped) return new RaftError('transfer-dropped', `group ${this.id} has stopped here`);
    this.#requested();
    const refused = this.#guarded(() => this.raft.transferLeader(peer));
    // Word of it may be delayed beyond the time in which this leader gives up.
    if (refused === undefined) this.lease?.giveUp(this.term);
    this.#touch(this);
    return refused;
  }

  /** What became of a snapshot on its way to a member. */
  reportSnapshot(peer: number, delivered: boolean): void {
    if (this.#stopped) return;
    this.#guarded(() => this.raft.reportSnapshot(peer, delivered));
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
    // Before anything is judged by how long its leader has been silent.
    this.#guarded(() => this.#hibernation?.hears(message));
    if (this.#stopped || this.#ignores(message)) return;
    if (comesFromLeader(message.type) && message.term >= this.term) {
      this.#quietTicks = 0;
      this.#heard = true;
    }
    this.#guarded(() => this.raft.step(message));
    this.#touch(this);
  }

  tick(): void {
    if (this.#stopped || this.asleep) return;
    this.#quietTicks++;
    // Nobody could read from it for as long as its data is on its way: it does not stand for election meanwhile.
    if (this.#installing && !this.isLeader) return;
    this.#guarded(() => {
      if (this.#hibernation?.tick() !== false) this.raft.tick();
    });
    if (this.raft.hasReady()) this.#touch(this);
  }

  /** Asks for votes; not while a leader that this peer has just heard may trust its lease. */
  campaign(): void {
    if (this.#stopped) return;
    this.#guarded(() => this.#hibernation?.rouse());
    if (this.lease !== undefined && this.#heard && this.#quietTicks < this.#electionTicks) return;
    this.#guarded(() => this.raft.campaign());
    this.#touch(this);
  }

  /** Keeps its vote for no leader any more, when none has been heard for an election timeout: others may have it. */
  forgetLeader(): void {
    if (this.#stopped || this.#quietTicks < this.#electionTicks) return;
    this.#guarded(() => this.raft.forgetLeader());
    this.#touch(this);
  }

  // Rest (docs/decisions/hibernation.md). Where the host lets no group rest, none of this does anything.

  /** It is not ticked, and sends nothing, until something happens to it. */
  get asleep(): boolean {
    return this.#hibernation?.asleep ?? false;
  }

  /** Wakes it, for whatever it does not hear of itself. */
  wake(): void {
    if (!this.#stopped) this.#guarded(() => this.#hibernation?.wake());
  }

  /** Somebody wants to be served, and this peer does not lead: a peer that sleeps looks for a leader now. */
  seekLeader(): void {
    if (!this.#stopped) this.#guarded(() => this.#hibernation?.seekLeader());
  }

  /** The store of this member is gone, or has forgotten that it leads. Means nothing where it does not lead any more. */
  leaderIsGone(leader: number): void {
    if (!this.#stopped) this.#guarded(() => this.#hibernation?.leaderIsGone(leader));
  }

  /** It knows no leader: it asks who leads, and goes on sleeping. */
  askForLeader(): void {
    if (!this.#stopped) this.#guarded(() => this.#hibernation?.askForLeader());
  }

  /** It knows no leader: it asks who leads, and stands for election when nobody has said so in so many ticks. */
  standForElection(ticks: number): void {
    if (!this.#stopped) this.#guarded(() => this.#hibernation?.standForElection(ticks));
  }

  /** Without a leader, it sleeps again until its turn comes. */
  loseHope(): void {
    if (!this.#stopped) this.#guarded(() => this.#hibernation?.loseHope());
  }

  /** It leads, and has gone to sleep without this member, whose store was missing. */
  leavesOut(member: number): boolean {
    return this.#hibernation?.leavesOut(member) ?? false;
  }

  /** A member that was left out is there again, in a new life: it is told who leads. */
  callBack(member: number): void {
    if (!this.#stopped) this.#guarded(() => this.#hibernation?.callBack(member));
  }

  /** What another member says about resting. */
  heed(from: number, notice: RestNotice): void {
    if (!this.#stopped) this.#guarded(() => this.#hibernation?.heed(from, notice));
  }

  get isIdle(): boolean {
    const waits = this.#firstProposal < this.#proposals.length || !this.#reads.isEmpty;
    return !waits && !this.#installing && this.#applied === this.raft.lastIndex;
  }

  get silence(): number {
    return this.#quietTicks;
  }

  get embargo(): number {
    return this.lease === undefined ? 0 : Math.max(0, this.#electionTicks - this.#quietTicks);
  }

  slept(ticks: number): void {
    this.#quietTicks += ticks;
  }

  stirred(): void {
    this.#touch(this);
  }

  /** Takes what the core gathered, after the turn's reads have joined a round. For the host. */
  takeReady(): Ready | undefined {
    if (this.#stopped) return undefined;
    const { term } = this.raft;
    this.#reads.dropOlder(term, this.#refusal('not-leader'));
    const now = this.#clock.now();
    if (this.#reads.due) {
      const ask = (context: Uint8Array) => this.#guarded(() => this.raft.readIndex(context)) === undefined;
      this.#reads.start(term, now, ask, this.#refusal('not-leader'));
    }
    if (!this.raft.hasReady()) return undefined;
    const ready = this.#guarded(() => this.raft.ready());
    if (ready === undefined) return undefined;
    if (ready.hardState !== undefined) this.#committed = ready.hardState.commit;
    if (ready.snapshot !== undefined) this.#restores(ready.snapshot);
    for (const state of ready.readStates) this.#reads.confirm(state.context, state.index);
    if (ready.readStates.length > 0) this.#serveReads();
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
    // Also of a group that was ended meanwhile: what it wrote before that is on disk.
    this.#machine.applied?.(this.#applied);
    this.#showThrough(this.#applied);
    if (!this.#stopped) this.#serveReads();
  }

  /**
   * Committed entries that are not to be evaluated: a snapshot that is being installed holds what they did. The core
   * learns that they need no more room.
   */
  entriesSkipped({ responses }: StorageApply): void {
    for (const response of responses) this.step(response);
  }

  /** The snapshot's data is in place: what was applied is what it holds. */
  snapshotInstalled(snapshot: Snapshot): void {
    this.#installing = false;
    if (this.#stopped) return;
    this.#applied = snapshot.index;
    this.#machine.restored?.(snapshot);
    this.#showThrough(snapshot.index);
    this.#serveReads();
    this.#touch(this);
  }

  /** Everything through `position` is out of the log: the core no longer looks for it. */
  logTruncated(position: { readonly index: number; readonly term: number }): void {
    if (this.#stopped) return;
    this.#guarded(() => this.raft.compact(position.index, position.term));
  }

  logDeleted(deletion: LogDeletion): void {
    if (!this.#stopped) this.#machine.logDeleted?.(deletion);
  }

  /** A confirmed read, or who proposed them, waits for entries whose changes are not visible yet. */
  get waitsForApplied(): boolean {
    return this.#unseen.length > 0 || this.#reads.waitBeyond(this.#applied);
  }

  /** Runs of entries that are evaluated together, in order; `undefined` for all together. */
  divide(entries: readonly Entry[]): readonly EntryRun[] | undefined {
    return this.#machine.divide?.(entries);
  }

  /** Resolves when these entries may be evaluated; `undefined` when they may be at once. */
  awaits({ entries }: StorageApply): Promise<void> | undefined {
    return this.#machine.awaits?.(entries);
  }

  needsReads({ entries }: StorageApply): boolean {
    return this.#machine.needsReads?.(entries) ?? false;
  }

  apply(
    { entries }: StorageApply,
    batch: WriteBatch,
    effects: ApplyEffects,
  ): ReturnType<StateMachine['apply']> {
    return this.#machine.apply(entries, batch, effects);
  }

  /** Answers everyone who waits. Proposals under way have an unknown outcome. */
  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#hibernation?.end();
    const proposals = this.#proposals.splice(0).slice(this.#firstProposal);
    this.#firstProposal = 0;
    for (const proposal of proposals) proposal.done(this.#refusal('undetermined'));
    this.#showThrough(Number.POSITIVE_INFINITY);
    this.lease?.end();
    this.#reads.fail(this.#refusal('stopped'));
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

  #requested(): void {
    this.#guarded(() => this.#hibernation?.requested());
  }

  #refusal(code: RefusalCode): { ok: false; code: RefusalCode; leader: number } {
    return { ok: false, code, leader: this.#soft.lead };
  }

  #becomes(soft: SoftState): void {
    const led = this.isLeader;
    this.#soft = soft;
    if (led && !this.isLeader) {
      this.lease?.end();
      this.#reads.fail(this.#refusal('not-leader'));
    }
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
      if (proposal.index === index && proposal.term === term) {
        if (proposal.visible !== undefined) this.#unseen.push({ index, visible: proposal.visible });
        proposal.done({ ok: true, result });
      } else proposal.done(this.#refusal('stale-command'));
    }
    if (this.#firstProposal === this.#proposals.length) {
      this.#proposals.length = 0;
      this.#firstProposal = 0;
    } else if (this.#firstProposal > 1024) {
      this.#proposals.splice(0, this.#firstProposal);
      this.#firstProposal = 0;
    }
  }

  /**
   * With leases on, a peer that may have confirmed one grants no vote before that lease is over, nor in its first ticks:
   * it cannot know what it confirmed before its start. A leader that hands over asks for the vote itself.
   */
  #ignores({ type, context }: Message): boolean {
    if (type === 'installSnapshot' || type === 'timeoutNow') return this.#installing;
    if (this.lease === undefined || this.#quietTicks >= this.#electionTicks) return false;
    return (type === 'requestVote' || type === 'requestPreVote') && !isTransferMarker(context);
  }

  /** What a snapshot holds may have been proposed here: nothing tells any more what became of it. */
  #restores(snapshot: Snapshot): void {
    this.#installing = true;
    this.#machine.restoring?.(snapshot);
    while (this.#firstProposal < this.#proposals.length) {
      const proposal = this.#proposals[this.#firstProposal];
      if (proposal === undefined || proposal.index > snapshot.index) break;
      this.#firstProposal++;
      proposal.done(this.#refusal('undetermined'));
    }
  }

  #showThrough(index: number): void {
    const until = this.#unseen.findIndex((one) => one.index > index);
    for (const { visible } of this.#unseen.splice(0, until < 0 ? this.#unseen.length : until)) visible();
  }

  #serveReads(): void {
    this.#reads.serve(this.#applied);
    if (this.#reads.due) this.#touch(this);
  }
}
