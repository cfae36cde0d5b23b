import type { RaftConfig } from './config.js';
import {
  type Configuration,
  describeConfiguration,
  EMPTY_CONFIGURATION,
  isVoter,
  members,
  restoreConfiguration,
  sameConfState,
  toConfState,
} from './configuration.js';
import { invariant, RaftError, RaftInvariantError } from './errors.js';
import { Inflights } from './inflights.js';
import { RaftLog } from './log.js';
import { dependsOnDisk, draftMessage, type MessageDraft } from './message.js';
import { Progress } from './progress.js';
import type { AckedIndexes } from './quorum.js';
import { ReadOnly } from './read-only.js';
import type { ConfState, Fetch, HardState, InitialState, Message, ReadState, Role } from './types.js';

/**
 * Everything a peer knows: the tables behind the role machine, owned by it and changed in place by its actions. What
 * may change when is decided by the chart; the rules themselves stand in election.ts, following.ts, leading.ts,
 * membership.ts, reads.ts and replication.ts.
 */
export class RaftCore implements AckedIndexes {
  readonly id: number;
  readonly log: RaftLog;
  term = 0;
  /** The candidate voted for in `term`; kept as long as the term lasts. 0 for none. */
  vote = 0;
  /** The leader this peer knows of; 0 for none. */
  lead = 0;
  /** The chart's role, as its entry actions report it. */
  role: Role = 'follower';

  configuration: Configuration = EMPTY_CONFIGURATION;
  /** One for each member, in ascending order of ids. */
  progress: Map<number, Progress> = new Map();
  /** Answers to the campaign under way. */
  readonly votes = new Map<number, boolean>();

  /** Ticks since the leader was heard from, or since a leader last checked its quorum. */
  electionElapsed = 0;
  heartbeatElapsed = 0;
  randomizedElectionTimeout = 0;
  /** Ticks for which a restarted peer votes for nobody: it may have promised a lease that it has forgotten. */
  voteEmbargo = 0;

  /** The last entry whose commit goes to everybody at once, though others wait to travel; 0 for none. */
  hurriedIndex = 0;
  /** The member that leadership is being moved to; 0 for none. */
  transferee = 0;
  /** No membership change may be proposed before this index is applied (at least that of the last one proposed). */
  pendingConfIndex = 0;
  /** Payload proposed in this leadership and not yet applied. */
  uncommittedSize = 0;
  reads = new ReadOnly();
  /** Reads asked before this leader committed an entry of its term. */
  postponedReads: Message[] = [];

  // Effects, gathered until the next Ready.
  messages: Message[] = [];
  /** May leave only when everything unwritten so far is on disk. Those to this peer are stepped then. */
  messagesAfterAppend: Message[] = [];
  readStates: ReadState[] = [];
  fetches: Fetch[] = [];
  fetchingForApply = false;

  /** Why the event that is being handled was refused. */
  refusal: RaftError | undefined;

  constructor(
    readonly config: RaftConfig,
    initial: InitialState,
  ) {
    this.id = config.id;
    this.log = new RaftLog(initial, config);
    const configuration = restoreConfiguration(initial.confState);
    if (configuration instanceof RaftError) {
      throw new RaftInvariantError(`peer ${this.id} cannot restore its membership: ${configuration.message}`);
    }
    this.adoptConfiguration(configuration, new Set());
    invariant(
      sameConfState(initial.confState, toConfState(configuration)),
      () => `peer ${this.id} restored another membership than it had saved`,
    );
    this.loadState(initial.hardState, initial.applied);
    this.reset(this.term);
  }

  private loadState({ term, vote, commit }: HardState, applied: number): void {
    const { log } = this;
    // Entries may be applied before the commit index that allowed it is on disk: what is applied is committed.
    const known = Math.max(commit, applied, log.committed);
    invariant(
      known <= log.lastIndex && (commit === 0 || Math.max(commit, applied) >= log.committed),
      () =>
        `peer ${this.id}: commit ${commit} and applied ${applied} on disk are outside the log [${log.committed}, ${log.lastIndex}]`,
    );
    log.committed = known;
    if (applied > log.applied) log.skipTo(applied);
    this.term = term;
    this.vote = vote;
    if (term > 0 && this.config.readOnlyOption === 'leaseBased') this.voteEmbargo = this.config.electionTick;
  }

  // Time

  /** One step of the logical clock. */
  countTick(): void {
    this.electionElapsed++;
    if (this.voteEmbargo > 0) this.voteEmbargo--;
  }

  get electionDue(): boolean {
    return this.electionElapsed + 1 >= this.randomizedElectionTimeout && this.promotable;
  }

  /** The tick that is being handled ends a leader's term of office: its quorum is checked, a transfer is given up. */
  get electionPeriodOver(): boolean {
    return this.electionElapsed + 1 >= this.config.electionTick;
  }

  // Standing

  /** A voter whose state is not about to be replaced by a snapshot. */
  get promotable(): boolean {
    return this.progress.has(this.id) && !this.isLearner && this.log.snapshot === undefined;
  }

  get isLearner(): boolean {
    return this.configuration.learners.includes(this.id);
  }

  get isSingleton(): boolean {
    return this.configuration.voters.length === 1 && this.configuration.outgoing.length === 0;
  }

  /** Why it serves nobody now, as people read it. */
  get standing(): string {
    if (this.role !== 'leader') return this.lead === 0 ? 'it knows no leader' : `peer ${this.lead} leads`;
    if (this.transferee !== 0) return `it hands over to peer ${this.transferee}`;
    return this.progress.has(this.id) ? 'it leads' : 'it leads, and is no longer a member';
  }

  /** Until then a leader does not know the whole committed log, and confirms no read (Raft 8). */
  get committedInTerm(): boolean {
    return this.log.matches(this.log.committed, this.term);
  }

  /** The last index that the member has acknowledged; `undefined` for a stranger. */
  ackedIndex(id: number): number | undefined {
    return this.progress.get(id)?.match;
  }

  /** Membership as it is saved. */
  confState(): ConfState {
    return toConfState(this.configuration);
  }

  // Changes that several roles share

  /** A new part is played: what belonged to the old one is void. The vote lives as long as its term. */
  reset(term: number): void {
    if (this.term !== term) {
      this.term = term;
      this.vote = 0;
    }
    this.lead = 0;
    this.electionElapsed = 0;
    this.heartbeatElapsed = 0;
    const { electionTick, random } = this.config;
    this.randomizedElectionTimeout = electionTick + Math.floor(random() * electionTick);
    this.hurriedIndex = 0;
    this.transferee = 0;
    this.votes.clear();
    const { lastIndex } = this.log;
    for (const [id, progress] of this.progress) progress.reset(id === this.id ? lastIndex : 0, lastIndex + 1);
    this.pendingConfIndex = 0;
    this.uncommittedSize = 0;
    if (this.reads.count > 0) this.reads = new ReadOnly();
  }

  /** Puts a configuration in force; members without a history start to be probed at the end of the log. */
  adoptConfiguration(configuration: Configuration, added: ReadonlySet<number>): void {
    const { maxInflightMsgs, maxInflightBytes } = this.config;
    const progress = new Map<number, Progress>();
    for (const id of members(configuration)) {
      let member = added.has(id) ? undefined : this.progress.get(id);
      if (member === undefined) {
        member = new Progress(
          0,
          Math.max(this.log.lastIndex, 1),
          new Inflights(maxInflightMsgs, maxInflightBytes),
        );
        // Else the next check of the quorum would count a member out that had no time to answer.
        member.recentActive = true;
      }
      progress.set(id, member);
    }
    this.configuration = configuration;
    this.progress = progress;
    this.info(() => `${this.id} switched to configuration ${describeConfiguration(configuration)}`);
  }

  // Effects

  /** A message of this peer at its term. */
  draft(type: Message['type'], to: number): MessageDraft {
    return draftMessage(type, this.id, to, this.term);
  }

  /** Sends now, or when what it promises is durable. */
  send(message: Message): void {
    if (dependsOnDisk(message.type)) {
      this.messagesAfterAppend.push(message);
      return;
    }
    invariant(message.to !== this.id, () => `peer ${this.id} sent ${message.type} to itself`);
    this.messages.push(message);
  }

  /** What the call under way answers. */
  refuse(code: RaftError['code'], sentence: string): void {
    this.refusal = new RaftError(code, sentence);
  }

  /** Whether a member has a vote, in either half of a joint configuration. */
  isVoter(id: number): boolean {
    return isVoter(this.configuration, id);
  }

  /** For the log; the text is made only where somebody reads it. */
  debug(text: () => string): void {
    this.config.log?.('debug', text());
  }

  /** As `debug`. */
  info(text: () => string): void {
    this.config.log?.('info', text());
  }

  /** As `debug`. */
  warn(text: () => string): void {
    this.config.log?.('warn', text());
  }
}
