import {
  type HibernationEvent,
  type HibernationState,
  type Message,
  nextRest,
  type RawNode,
} from '../../machines/index.js';
import { comesFromLeader, isLocal, isResponse } from '../../machines/raft/message.js';
import type { HibernationHost, RestingGroup, RestNotice } from './resting-group.js';

export interface HibernationOptions {
  readonly host: HibernationHost;
  readonly electionTicks: number;
  readonly heartbeatTicks: number;
  /** Ticks without a request after which a leader asks to rest. */
  readonly quietTicks: number;
  /** It starts without a leader, and need not look for one yet. */
  readonly dormant: boolean;
}

interface Bid {
  readonly from: number;
  readonly term: number;
  readonly index: number;
}

/** Ticks that a leader stays awake at least when something else than a request has woken it: two heartbeats. */
const SETTLE_TICKS = 3;
const NOBODY: readonly number[] = [];

/** The rest of one peer: what the chart `hibernation` says, carried out (docs/decisions/hibernation.md). */
export class Hibernation {
  readonly #group: RestingGroup;
  readonly #options: HibernationOptions;
  #state: HibernationState = 'awake';
  /** Ticks since a request came, or entries of a leader. */
  #quiet = 0;
  /** Ticks since the members were asked. */
  #asked = 0;
  #agreed: Set<number> | undefined;
  /** Members that it sleeps without, because their stores were missing. */
  #absent: readonly number[] = NOBODY;
  /** What its leader asked, while there is something left to apply. */
  #bid: Bid | undefined;
  #bidTicks = 0;
  /** In ticks of the host: since when it sleeps, and through when its sleep is counted as silence of its leader. */
  #sleepsSince = 0;
  #countedThrough = 0;
  /** Ticks since it woke, or heard a leader. */
  #waits = 0;
  /** Ticks until it stands for election, unless it finds a leader before; 0 for not at all. */
  #campaignIn = 0;

  constructor(group: RestingGroup, options: HibernationOptions) {
    this.#group = group;
    this.#options = options;
    if (options.dormant) {
      this.#state = 'dormant';
      this.#quiet = options.quietTicks;
      this.#countedThrough = options.host.ticks;
    }
  }

  get state(): HibernationState {
    return this.#state;
  }

  get asleep(): boolean {
    return this.#state === 'asleep' || this.#state === 'dormant';
  }

  /** The leader sleeps, or is about to, without having heard from this member. */
  leavesOut(member: number): boolean {
    return (this.#state === 'asleep' || this.#state === 'asking') && this.#absent.includes(member);
  }

  /**
   * A tick of a peer that is awake.
   * @returns whether the core is to be ticked: a leader that has asked waits for answers, and sends nothing
   */
  tick(): boolean {
    if (this.#state === 'asking') {
      if (++this.#asked <= this.#patience) return false;
      this.#go('askedInVain');
      this.#quiet = Math.floor(this.#options.quietTicks / 2);
      return true;
    }
    this.#quiet++;
    const { raft } = this.#group;
    if (raft.role === 'leader') this.#leaderTick();
    else this.#followerTick(raft);
    return this.#state === 'awake';
  }

  /** Somebody wants something of this group, here. */
  requested(): void {
    this.#quiet = 0;
    if (this.#state !== 'awake') this.#disturb(true);
  }

  /** A Raft message came, and is about to be stepped. */
  hears(message: Message): void {
    if (comesFromLeader(message.type) && message.term >= this.#group.raft.term) {
      this.#waits = 0;
      if (message.entries.length > 0) this.#quiet = 0;
    }
    if (this.#state === 'awake') return;
    if (this.asleep) this.#countSleep();
    if (this.#changesNothing(message)) return;
    this.#disturb(!this.#looksForLeader(message));
  }

  wake(): void {
    this.#disturb(true);
  }

  /** Wakes it without asking anybody who leads. */
  rouse(): void {
    this.#disturb(false);
  }

  /** This leader is known to be no more, or its store is missing: the silence of its sleep counts as one. */
  leaderIsGone(leader: number): void {
    const { raft, peerId } = this.#group;
    if (raft.lead !== leader || leader === peerId) return;
    this.#bid = undefined;
    this.#disturb(false);
    raft.wake(this.#group.silence);
  }

  /** A member that was left out has started again: it is told who leads. */
  callBack(member: number): void {
    if (!this.leavesOut(member)) return;
    if (this.#state === 'asleep') this.#answer(member);
    else this.#disturb(true);
  }

  /** Somebody wants to be served, and this peer does not lead. */
  seekLeader(): void {
    if (!this.asleep) return;
    this.#disturb(true);
    const { raft } = this.#group;
    if (raft.lead === 0 || this.#leaderIsMissing) this.#standIn(0);
  }

  /** Asks who leads, and goes on sleeping until somebody answers. */
  askForLeader(): void {
    if (this.#state === 'dormant' && this.#group.raft.lead === 0) this.#callMembers();
  }

  /** Asks who leads, and stands for election when nobody has said so in so many ticks. */
  standForElection(ticks: number): void {
    this.#disturb(true);
    if (this.#group.raft.lead === 0) this.#standIn(ticks);
  }

  /** It found no leader for long: others look for theirs meanwhile. */
  loseHope(): void {
    if (this.#group.raft.lead === 0) this.#go('lostHope');
  }

  /** This replica ends here. A leader says so: its followers may be asleep. */
  end(): void {
    const { host } = this.#options;
    if (this.#group.raft.role === 'leader') this.#callMembers();
    host.stopTicking(this.#group);
  }

  /** A notice of another member. */
  heed(from: number, notice: RestNotice): void {
    switch (notice.type) {
      case 'request':
        return this.#bidden({ ...notice, from });
      case 'response':
        return this.#agrees({ ...notice, from });
      case 'wakeUp':
        return this.#called({ ...notice, from });
    }
  }

  // As a leader.

  #leaderTick(): void {
    const { host, quietTicks } = this.#options;
    const { raft, isIdle } = this.#group;
    if (this.#quiet < quietTicks || !isIdle || raft.hasReady()) return;
    if (raft.isAtRest((member) => host.isMissing(this.#group, member))) this.#go('fellQuiet');
  }

  /** What it holds its breath for: together with a heartbeat that is due, well within what followers wait. */
  get #patience(): number {
    const { electionTicks, heartbeatTicks } = this.#options;
    return Math.max(1, Math.floor((electionTicks - heartbeatTicks) / 2));
  }

  #askMembers(): void {
    const { host } = this.#options;
    const { raft, peerId } = this.#group;
    this.#asked = 0;
    this.#agreed = new Set([peerId]);
    const absent: number[] = [];
    for (const member of raft.members) {
      if (member === peerId) continue;
      if (host.isMissing(this.#group, member)) absent.push(member);
      else this.#tell(member, 'request');
    }
    this.#absent = absent.length === 0 ? NOBODY : absent;
    this.#countAgreed();
  }

  #agrees({ from, term, index }: Bid): void {
    const { raft } = this.#group;
    if (raft.role !== 'leader' || term !== raft.term || index !== raft.lastIndex) return;
    if (this.#absent.includes(from)) this.#absent = this.#absent.filter((member) => member !== from);
    if (this.#state !== 'asking') return;
    this.#agreed?.add(from);
    this.#countAgreed();
  }

  #countAgreed(): void {
    for (const member of this.#group.raft.members) {
      if (!this.#agreed?.has(member) && !this.#absent.includes(member)) return;
    }
    this.#go('allAgreed');
  }

  /**
   * A member wants to be led. One that has everything is only told that it is, so that a store that starts learns the
   * leaders of ten thousand sleeping groups without waking them.
   */
  #called({ from, term, index }: Bid): void {
    const { raft } = this.#group;
    if (raft.role !== 'leader') {
      // A whole store may be about to stop.
      const { host } = this.#options;
      if (term >= raft.term && raft.lead === from) host.later(this.#group, () => this.leaderIsGone(from));
      return;
    }
    if (!raft.isMember(from)) return;
    const lacksNothing = term <= raft.term && index === raft.lastIndex;
    if (this.#state === 'awake' || lacksNothing) this.#answer(from);
    else this.#disturb(true);
  }

  #answer(member: number): void {
    if (this.#state !== 'awake') this.#tell(member, 'request');
    this.#group.raft.answerCall(member);
    this.#group.stirred();
  }

  // As a follower.

  #followerTick(raft: RawNode): void {
    const { electionTicks, host } = this.#options;
    if (this.#campaignIn > 0 && --this.#campaignIn === 0) this.#stand();
    if (this.#bid !== undefined) {
      if (this.#mayRest(this.#bid)) this.#go('bidden');
      else if (--this.#bidTicks <= 0) this.#bid = undefined;
    }
    if (this.#state !== 'awake') return;
    // The leader may sleep, and not know that this one is awake.
    if (++this.#waits === Math.floor(electionTicks / 2)) this.#callForLeader();
    const isAdrift = raft.lead === 0 && this.#waits > electionTicks;
    if (isAdrift && this.#waits % electionTicks === 0) host.adrift(this.#group);
  }

  #bidden(bid: Bid): void {
    const { raft } = this.#group;
    if (bid.term < raft.term || raft.lead === this.#group.peerId) return;
    this.#bid = bid;
    this.#bidTicks = this.#patience;
    if (this.#mayRest(bid)) {
      this.#go('bidden');
      return;
    }
    this.#disturb(false);
    // It follows somebody else, and should not.
    if (bid.term > raft.term || (raft.lead !== 0 && raft.lead !== bid.from)) this.#tell(bid.from, 'wakeUp');
  }

  #mayRest({ from, term, index }: Bid): boolean {
    const { raft, isIdle } = this.#group;
    return isIdle && raft.isAtRestBehind(from, term, index) && this.#options.host.isAlive(this.#group, from);
  }

  get #leaderIsMissing(): boolean {
    const { lead, role } = this.#group.raft;
    return role !== 'leader' && lead !== 0 && this.#options.host.isMissing(this.#group, lead);
  }

  /** Stands for election in `ticks` ticks, or when it may. */
  #standIn(ticks: number): void {
    this.#campaignIn = Math.max(ticks, this.#group.embargo);
    if (this.#campaignIn === 0) this.#stand();
  }

  #stand(): void {
    const { raft } = this.#group;
    if (raft.role === 'follower' && (raft.lead === 0 || this.#leaderIsMissing)) this.#group.campaign();
  }

  // Waking and falling asleep.

  /** @param calls whether it asks who leads */
  #disturb(calls: boolean): void {
    const slept = this.asleep;
    this.#go('disturbed');
    if (slept && calls) this.#callForLeader();
  }

  #callForLeader(): void {
    const { lead, role } = this.#group.raft;
    if (role === 'leader' || this.#leaderIsMissing) return;
    if (lead === 0) this.#callMembers();
    else this.#tell(lead, 'wakeUp');
  }

  #callMembers(): void {
    const { raft, peerId } = this.#group;
    for (const member of raft.members) if (member !== peerId) this.#tell(member, 'wakeUp');
  }

  /** Whoever leads will hear of it anyway, or has just spoken. */
  #looksForLeader({ type }: Message): boolean {
    return comesFromLeader(type) || (type.startsWith('request') && this.#group.raft.lead === 0);
  }

  /** Old news, answers to what was asked before it fell asleep, and what left just before its leader asked it to rest. */
  #changesNothing(message: Message): boolean {
    const { raft } = this.#group;
    const { type, term, from, reject } = message;
    if (isLocal(type) || (term !== 0 && term < raft.term)) return true;
    if (this.#state === 'dormant' && this.#canVoteAsleep(message)) return true;
    if (term > raft.term) return false;
    if (isResponse(type)) return raft.role === 'follower' || (raft.role === 'leader' && !reject);
    return this.#state === 'asleep' && from === raft.lead && this.#leftBeforeItSlept(message);
  }

  /**
   * Whoever asks is awake, and tells when it has won; else this peer's own turn will come. But one that could not win
   * for what this peer has needs it awake.
   */
  #canVoteAsleep({ type, index, logTerm }: Message): boolean {
    if (type !== 'requestVote' && type !== 'requestPreVote') return false;
    return this.#group.raft.isUpToDate(index, logTerm);
  }

  /** Its leader sent it just before it asked, and it tells nothing new. */
  #leftBeforeItSlept({ type, entries, commit, context }: Message): boolean {
    const { ticks } = this.#options.host;
    const empty = (type === 'heartbeat' || type === 'appendEntries') && entries.length === 0;
    if (!empty || ticks - this.#sleepsSince > 1) return false;
    return context.length === 0 && commit <= this.#group.raft.commit;
  }

  #tell(member: number, type: RestNotice['type']): void {
    const { raft, isIdle } = this.#group;
    const index = isIdle && raft.commit === raft.lastIndex ? raft.lastIndex : 0;
    this.#options.host.notify(this.#group, member, { type, term: raft.term, index });
  }

  #go(event: HibernationEvent): void {
    const slept = this.asleep;
    const { state, actions } = nextRest(this.#state, event);
    this.#state = state;
    for (const action of actions) {
      switch (action) {
        case 'askMembers':
          this.#askMembers();
          break;
        case 'agree':
          if (this.#bid !== undefined) this.#tell(this.#bid.from, 'response');
          break;
        case 'stopTicking':
          this.#fallAsleep();
          break;
        case 'goOn':
          this.#goOn(slept);
      }
    }
  }

  #fallAsleep(): void {
    const { host } = this.#options;
    this.#agreed = undefined;
    this.#bid = undefined;
    this.#campaignIn = 0;
    this.#sleepsSince = host.ticks;
    this.#countedThrough = host.ticks;
    host.stopTicking(this.#group);
    this.#group.raft.evictEntries(0);
  }

  #countSleep(): void {
    const { ticks } = this.#options.host;
    this.#group.slept(ticks - this.#countedThrough);
    this.#countedThrough = ticks;
  }

  /**
   * Of a sleep nothing is made up but the silence that counts where leases are trusted. A leader that has only held its breath
   * has no new time to prove its quorum: one that asks in vain again and again would lead for ever.
   */
  #goOn(slept: boolean): void {
    const { host, quietTicks } = this.#options;
    this.#waits = 0;
    this.#quiet = Math.min(this.#quiet, quietTicks - SETTLE_TICKS);
    if (!slept) return;
    this.#countSleep();
    host.startTicking(this.#group);
    this.#group.raft.wake(this.#leaderIsMissing ? this.#group.silence : 0);
  }
}
