import { seededRandom, VirtualClock } from '../../actors/index.js';
import { RaftGroup } from '../../cluster/raft/group.js';
import { INITIAL_LOG } from '../../cluster/raft/initial-log.js';
import type { HibernationHost, RestingGroup, RestNotice } from '../../cluster/raft/resting-group.js';
import type { ConfState, Entry, InitialState, Message } from '../../machines/index.js';

export const ELECTION_TICKS = 10;
const TICK_MS = 100;

/** What leaves a peer: a Raft message, or a notice beside Raft. */
export interface Sent {
  readonly from: number;
  readonly to: number;
  readonly message?: Message;
  readonly notice?: RestNotice;
}

export interface RestingWorldOptions {
  readonly voters?: readonly number[];
  readonly learners?: readonly number[];
  readonly leases?: boolean;
  /** Peers begin without looking for a leader. */
  readonly dormant?: boolean;
}

/** One Raft group without disks and stores: writes take no time, and the spec carries what is sent. */
export class RestingWorld {
  readonly clock = new VirtualClock();
  readonly groups = new Map<number, RaftGroup>();
  /** Everything sent so far, lost or not. */
  readonly sent: Sent[] = [];
  /** What is on its way. */
  queue: Sent[] = [];
  /** False loses it. */
  carries: (sent: Sent) => boolean = () => true;
  /** Members whose stores are not heard. */
  readonly missing = new Set<number>();
  ticks = 0;
  readonly #ticking = new Set<RestingGroup>();
  /** What each peer has on disk. */
  readonly #logs = new Map<number, Map<number, Entry>>();

  constructor(options: RestingWorldOptions = {}) {
    const { voters = [1, 2, 3], learners = [], leases = false, dormant = false } = options;
    const random = seededRandom(1);
    const confState = { voters, votersOutgoing: [], learners, learnersNext: [], autoLeave: false };
    for (const id of [...voters, ...learners]) {
      const group = new RaftGroup({
        id: 1,
        peerId: id,
        config: { random, preVote: true, checkQuorum: true, skipBroadcastCommit: true },
        initial: initialState(confState),
        machine: { apply: (entries) => entries.map(() => undefined) },
        clock: this.clock,
        leaseTimeout: leases ? ELECTION_TICKS * TICK_MS : undefined,
        hibernation: {
          host: this.#hostOf(id),
          electionTicks: ELECTION_TICKS,
          heartbeatTicks: 2,
          quietTicks: ELECTION_TICKS,
          dormant,
        },
        touch: () => {},
      });
      this.groups.set(id, group);
      if (!dormant) this.#ticking.add(group);
    }
  }

  group(id: number): RaftGroup {
    const group = this.groups.get(id);
    if (group === undefined) throw new Error(`there is no peer ${id}`);
    return group;
  }

  get asleep(): number[] {
    return [...this.groups].filter(([, group]) => group.asleep).map(([id]) => id);
  }

  get leader(): RaftGroup | undefined {
    return [...this.groups.values()].find(({ isLeader }) => isLeader);
  }

  /** Peer 1 leads, and everybody has applied everything. */
  async lead(): Promise<void> {
    this.group(1).campaign();
    this.settle();
    await this.until(() => this.leader !== undefined);
    if (this.leader !== this.group(1)) this.leader?.transferLeader(1);
    this.settle();
    await this.tick(3);
    if (!this.group(1).isLeader) throw new Error('peer 1 does not lead');
  }

  /** Everybody sleeps. */
  async sleep(): Promise<void> {
    await this.until(() => this.asleep.length === this.groups.size);
    this.sent.length = 0;
  }

  async until(condition: () => boolean, limit = 100): Promise<number> {
    for (let ticks = 0; ticks < limit; ticks++) {
      if (condition()) return ticks;
      await this.tick(1);
    }
    throw new Error(`nothing of it within ${limit} ticks`);
  }

  /** Ticks whoever is awake, and lets each tick take its course. */
  async tick(times: number): Promise<void> {
    for (let i = 0; i < times; i++) {
      await this.clock.advance(TICK_MS);
      this.ticks++;
      for (const group of [...this.#ticking]) (group as RaftGroup).tick();
      this.settle();
    }
  }

  /** Carries out Readys and carries messages until nothing moves. */
  settle(): void {
    do {
      for (const [id, group] of this.groups) this.#carryOut(id, group);
      const queue = this.queue;
      this.queue = [];
      for (const sent of queue) if (this.carries(sent)) this.deliver(sent);
    } while (this.queue.length > 0 || [...this.groups.values()].some(({ raft }) => raft.hasReady()));
  }

  deliver({ from, to, message, notice }: Sent): void {
    if (message !== undefined) this.groups.get(to)?.step(message);
    if (notice !== undefined) this.groups.get(to)?.heed(from, notice);
  }

  /** A read of this peer; tells later whether it was served. */
  read(id: number): { served: boolean } {
    const outcome = { served: false };
    this.group(id).read(({ ok }) => {
      outcome.served = ok;
    });
    this.settle();
    return outcome;
  }

  /** What these sent since the last sleep, as `from > to what`. */
  get said(): string[] {
    return this.sent.map(
      ({ from, to, message, notice }) => `${from} > ${to} ${message?.type ?? notice?.type}`,
    );
  }

  #send(sent: Sent): void {
    this.sent.push(sent);
    this.queue.push(sent);
  }

  #hostOf(from: number): HibernationHost {
    const world = this;
    return {
      get ticks() {
        return world.ticks;
      },
      startTicking: (group) => this.#ticking.add(group),
      stopTicking: (group) => this.#ticking.delete(group),
      later: (_group, act) => act(),
      adrift: () => {},
      notify: (_group, to, notice) => this.#send({ from, to, notice }),
      isMissing: (_group, member) => this.missing.has(member),
      isAlive: (_group, member) => !this.missing.has(member),
    };
  }

  #logOf(id: number): Map<number, Entry> {
    const log = this.#logs.get(id) ?? new Map<number, Entry>();
    this.#logs.set(id, log);
    return log;
  }

  #carryOut(id: number, group: RaftGroup): void {
    for (let ready = group.takeReady(); ready !== undefined; ready = group.takeReady()) {
      for (const message of ready.messages) this.#send({ from: id, to: message.to, message });
      for (const response of ready.append?.responses ?? []) {
        if (response.to === id) group.step(response);
        else this.#send({ from: id, to: response.to, message: response });
      }
      for (const entry of ready.entries) this.#logOf(id).set(entry.index, entry);
      if (ready.apply === undefined) continue;
      group.answer(ready.apply, []);
      group.entriesApplied(ready.apply);
    }
    for (const fetch of group.fetches()) {
      if (fetch.kind !== 'entries') continue;
      const entries: Entry[] = [];
      for (let index = fetch.low; index < fetch.high; index++) {
        const entry = this.#logOf(id).get(index);
        if (entry !== undefined) entries.push(entry);
      }
      group.fetched((raft) => raft.entriesFetched(fetch, entries));
    }
  }
}

function initialState(confState: ConfState): InitialState {
  return {
    hardState: { term: INITIAL_LOG.term, vote: 0, commit: INITIAL_LOG.index },
    confState,
    truncated: INITIAL_LOG,
    lastIndex: INITIAL_LOG.index,
    terms: [],
    entries: [],
    applied: INITIAL_LOG.index,
  };
}
