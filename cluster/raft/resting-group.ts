import type { RawNode } from '../../machines/index.js';
import type { Ticked } from './tick-rounds.js';

/** What peers tell each other about resting, beside Raft. */
export interface RestNotice {
  /**
   * - `request`: a leader asks a member to rest
   * - `response`: the member agrees, and sleeps from then on
   * - `wakeUp`: a member that is awake asks who leads; of a leader, that it leads no more
   */
  readonly type: 'request' | 'response' | 'wakeUp';
  /** The sender's. */
  readonly term: number;
  /** Where the sender's log ends, if it has applied all of it; else 0. */
  readonly index: number;
}

/** The way to the stores of a group's members, and what is known of them. */
export interface MemberStores {
  /** Puts a notice on its way to another member; it may be lost. */
  notify(group: RestingGroup, member: number, notice: RestNotice): void;
  /** The store of this member has not been heard for an election timeout. */
  isMissing(group: RestingGroup, member: number): boolean;
  /** The store of this member has been heard lately, and it would be noticed if it fell silent. */
  isAlive(group: RestingGroup, member: number): boolean;
}

/** What the groups of a host share. */
export interface HibernationHost extends MemberStores {
  /** Ticks of the host so far. */
  readonly ticks: number;
  startTicking(group: RestingGroup): void;
  stopTicking(group: RestingGroup): void;
  /** Does what concerns many groups at once when this group's turn comes. */
  later(group: RestingGroup, act: () => void): void;
  /** The group is awake, and has found no leader for two election timeouts or more. */
  adrift(group: RestingGroup): void;
}

/** A Raft group, as those see it that let it rest and wake it. */
export interface RestingGroup extends Ticked {
  readonly id: number;
  readonly peerId: number;
  readonly raft: RawNode;
  /** 0 while it knows none. */
  readonly leader: number;
  readonly asleep: boolean;
  /** Nobody waits here for a proposal, a read or a snapshot, and all of the log is applied and visible. */
  readonly isIdle: boolean;
  /** Ticks since a leader was heard, or since the start. */
  readonly silence: number;
  /** Ticks for which this peer may not stand for election, because it may have confirmed a lease. */
  readonly embargo: number;
  /** So many ticks passed while it slept. */
  slept(ticks: number): void;
  campaign(): void;
  /** Its core may have something to send. */
  stirred(): void;
  askForLeader(): void;
  standForElection(ticks: number): void;
  loseHope(): void;
}
