import {
  type ActorRef,
  type ActorSystem,
  AskError,
  type Clock,
  type Logger,
  type ReplyTo,
} from '../../actors/index.js';
import type { MessageType } from '../../machines/raft/types.js';
import { type SchedulerMemberDesk, schedulerMemberMachine } from '../../machines/scheduler-member.machine.js';
import { type Engine, RaftLog } from '../../storage/index.js';
import { backoffMs } from '../client/backoff.js';
import { TroupeError } from '../errors.js';
import { troupepb } from '../proto/index.js';
import type { RaftGroup } from '../raft/group.js';
import { INITIAL_LOG } from '../raft/initial-log.js';
import { type MemberRecord, saveMember } from './member-record.js';
import { SCHEDULER_GROUP, saveSchedulerRegion } from './snapshots.js';

export interface MembershipParts {
  readonly system: ActorSystem;
  readonly engine: Engine;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  readonly record: MemberRecord;
  /** The directory takes the place of one that was lost. */
  readonly rejoin: boolean;
}

/** By which leaders are made. Without the answers no campaign gets beyond its first question (PreVote). */
const ELECTION: ReadonlySet<MessageType> = new Set<MessageType>([
  'requestPreVote',
  'requestPreVoteResponse',
  'requestVote',
  'requestVoteResponse',
  'timeoutNow',
]);

type JoinEvent = troupepb.JoinSchedulersRequest & { readonly sender?: string; readonly replyTo?: ReplyTo };

/** Milliseconds for each question to another member. */
const ANSWER_TIMEOUT_MS = 1_000;
/** Rounds of questions after which the log says again who is waited for. */
const ROUNDS_BETWEEN_WORDS = 20;

/**
 * Which directories the schedulers' group is made of (docs/decisions/schedulers.md).
 *
 * A member that comes with a new directory must be noted, durably, by all others: two directories under one name cannot
 * both be. What the lost one may have voted for or acknowledged is bounded by where they stand: the new one begins in the
 * highest term, and votes once its log reaches as far as theirs did.
 */
export class Membership implements SchedulerMemberDesk {
  readonly #parts: MembershipParts;
  readonly #actor: ActorRef;
  #record: MemberRecord;
  #group: () => RaftGroup | undefined = () => undefined;
  /** Writes of the record, one after the other. */
  #writing: Promise<unknown> = Promise.resolve();

  constructor(parts: MembershipParts) {
    this.#parts = parts;
    this.#record = parts.record;
    this.#actor = parts.system.spawn(schedulerMemberMachine, {
      path: 'member',
      input: { desk: this },
      mailbox: { capacity: 64, overflow: 'reject' },
      supervision: { onFailure: 'stop' },
    });
    if (parts.record.admitted) this.#actor.tell({ type: 'admitted' });
  }

  /** Where the log of this member stands is asked for from now on. */
  attach(group: () => RaftGroup | undefined): void {
    this.#group = group;
  }

  /**
   * Whether such a message must not reach this member's Raft group: its log lacks what may have been acknowledged under its
   * name, so it must elect nobody, and not be elected.
   */
  withholds(type: MessageType): boolean {
    const { floorTerm, floorIndex } = this.#record;
    const group = this.#group();
    if (floorIndex === 0 || group === undefined || !ELECTION.has(type)) return false;
    const { lastIndex } = group.raft;
    return isBehind({ term: group.raft.termAt(lastIndex), index: lastIndex }, floorTerm, floorIndex);
  }

  /**
   * Makes the directory a member's, however long the others stay away; at once where it is one already.
   * @throws TroupeError `identity` when another directory is known under the name, or the others are another group
   */
  async join(): Promise<void> {
    if (this.#record.admitted) return;
    const answers = new Map<string, troupepb.JoinSchedulersResponse>();
    try {
      for (let round = 1; answers.size < this.#others.length; round++) {
        await Promise.all(
          this.#others.filter((name) => !answers.has(name)).map((name) => this.#ask(name, answers)),
        );
        if (answers.size === this.#others.length) break;
        if (round % ROUNDS_BETWEEN_WORDS === 1) this.#say(answers);
        await new Promise<void>((resolve) =>
          this.#parts.clock.setTimeout(resolve, backoffMs(round, this.#parts.random)),
        );
      }
      await this.#admit([...answers.values()]);
    } catch (error) {
      this.#actor.tell({ type: 'refused' });
      throw error;
    }
    this.#actor.tell({ type: 'admitted' });
  }

  get #others(): string[] {
    return this.#record.schedulers.filter((name) => name !== this.#parts.system.node);
  }

  async #ask(name: string, answers: Map<string, troupepb.JoinSchedulersResponse>): Promise<void> {
    const { system, rejoin } = this.#parts;
    const { schedulers, birth } = this.#record;
    const event = { type: 'scheduler.join', schedulers, birth, rejoin };
    try {
      const asked = system.ref(`${name}/member`).ask(event, { timeout: ANSWER_TIMEOUT_MS });
      const answer = (await asked) as troupepb.JoinSchedulersResponse;
      if (answer.refusal !== '') throw new TroupeError('identity', answer.refusal);
      if (!answer.busy) answers.set(name, answer);
    } catch (error) {
      // Not there yet.
      if (!(error instanceof AskError)) throw error;
    }
  }

  #say(answers: ReadonlyMap<string, unknown>): void {
    const missing = this.#others.filter((name) => !answers.has(name));
    this.#parts.logger.info(
      { missing },
      `a new data directory waits until ${missing.join(' and ')} have noted it: start them`,
    );
  }

  async #admit(answers: readonly troupepb.JoinSchedulersResponse[]): Promise<void> {
    const { engine, system } = this.#parts;
    const { schedulers } = this.#record;
    const id = schedulers.indexOf(system.node) + 1;
    let term = 0;
    for (const answer of answers) {
      term = Math.max(term, answer.term);
      const { lastTerm, lastIndex } = answer;
      if (isBehind({ term: this.#record.floorTerm, index: this.#record.floorIndex }, lastTerm, lastIndex)) {
        this.#record = { ...this.#record, floorTerm: lastTerm, floorIndex: lastIndex };
      }
    }
    this.#record = { ...this.#record, admitted: true };
    const batch = engine.batch();
    saveMember(batch, this.#record);
    // In terms that have been, its name has had its vote.
    createGroup(engine, batch, schedulers.length, id, term);
    await engine.write(batch);
    await engine.sync();
  }

  // The member machine's action.

  joins(request: unknown): void {
    const { sender = '', replyTo, ...asked } = request as JoinEvent;
    const answered = this.#writing.then(() => this.#answer(sender, asked));
    this.#writing = answered.catch(() => {});
    const { logger } = this.#parts;
    answered.then(
      (answer) => {
        if (answer.refusal !== undefined) logger.warn({ sender }, answer.refusal);
        replyTo?.send(troupepb.JoinSchedulersResponse.from(answer));
      },
      (error: unknown) => logger.warn({ err: error, sender }, 'a member could not be noted'),
    );
  }

  async #answer(
    sender: string,
    { schedulers, birth, rejoin }: troupepb.JoinSchedulersRequest,
  ): Promise<Partial<troupepb.JoinSchedulersResponse>> {
    const own = this.#record;
    const { engine, system } = this.#parts;
    if (schedulers.join() !== own.schedulers.join() || !schedulers.includes(sender)) {
      return {
        refusal: `"${sender}" was started with --schedulers ${schedulers.join(',')}, and "${system.node}" with ${own.schedulers.join(',')}: give every scheduler the same names in the same order.`,
      };
    }
    const known = own.known.find(({ name }) => name === sender);
    if (known !== undefined && known.birth !== birth && !rejoin) {
      return {
        refusal: `"${sender}" has taken part with another data directory, and this one is empty: start it with the directory it had. If that is lost, start "${sender}" once with --rejoin while the other schedulers run.`,
      };
    }
    const group = this.#group();
    if (group === undefined && own.admitted) return { busy: true };
    if (group !== undefined && this.#remembers(group, schedulers.indexOf(sender) + 1)) return { busy: true };
    if (known?.birth !== birth) {
      const others = own.known.filter(({ name }) => name !== sender);
      this.#record = { ...this.#record, known: [...others, { name: sender, birth }] };
      const batch = engine.batch();
      saveMember(batch, this.#record);
      await engine.write(batch);
      await engine.sync();
    }
    if (group === undefined) return {};
    const { lastIndex, term } = group.raft;
    return { term, lastIndex, lastTerm: group.raft.termAt(lastIndex) };
  }

  /** A leader counts on what the lost directory has acknowledged to it: another one has to take over first. */
  #remembers(group: RaftGroup, id: number): boolean {
    if (!group.isLeader || (group.status().progress.get(id)?.match ?? 0) === 0) return false;
    for (const [peer, { live }] of group.status().progress) {
      if (peer !== group.peerId && peer !== id && live) {
        group.transferLeader(peer);
        break;
      }
    }
    return true;
  }
}

/** Whether a log that ends at `position` does not reach as far as one that ends at (term, index). */
function isBehind(
  position: { readonly term: number; readonly index: number },
  term: number,
  index: number,
): boolean {
  return position.term < term || (position.term === term && position.index < index);
}

/**
 * The group's first state in a new directory.
 * @param votedThrough no vote is given in terms up to this one
 */
export function createGroup(
  engine: Engine,
  batch: ReturnType<Engine['batch']>,
  members: number,
  id: number,
  votedThrough = 0,
): void {
  const confState = {
    voters: Array.from({ length: members }, (_, i) => i + 1),
    votersOutgoing: [],
    learners: [],
    learnersNext: [],
    autoLeave: false,
  };
  const promised = { term: votedThrough, vote: votedThrough > INITIAL_LOG.term ? id : 0, commit: 0 };
  new RaftLog(engine).create(batch, SCHEDULER_GROUP, INITIAL_LOG, confState, promised);
  saveSchedulerRegion(batch, members, id);
}
