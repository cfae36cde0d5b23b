import {
  type ConfState,
  decodeConfChange,
  type Entry,
  EntryType,
  type Message,
  type MessageType,
  makeMessage,
  type RaftCore,
  type RaftOptions,
  RawNode,
  type ReadState,
  type Ready,
  type Snapshot,
} from '../../../machines/index.js';
import { EMPTY_SNAPSHOT, MemoryStorage } from './memory-storage.js';

/** Settings that specs start from: nothing is limited, nothing beyond the paper is switched on. */
export const PLAIN: Omit<RaftOptions, 'id'> = {
  electionTick: 10,
  heartbeatTick: 1,
  maxSizePerMsg: Number.POSITIVE_INFINITY,
  maxCommittedSizePerReady: 0,
  maxUncommittedEntriesSize: 0,
  maxInflightMsgs: 256,
  maxInflightBytes: 0,
  preVote: false,
  checkQuorum: false,
  stepDownOnRemoval: false,
  maxCachedBytes: Number.POSITIVE_INFINITY,
  random: () => 0,
};

/** A uniform sequence in [0, 1) that a seed fixes (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function voters(...ids: number[]): ConfState {
  return { voters: ids, votersOutgoing: [], learners: [], learnersNext: [], autoLeave: false };
}

/** Entries from `first` on with these terms, empty. */
export function entriesOf(first: number, ...terms: number[]): Entry[] {
  return terms.map((term, i) => ({
    term,
    index: first + i,
    type: EntryType.normal,
    data: new Uint8Array(0),
  }));
}

export function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** What a peer has when it starts. */
export interface Start {
  readonly confState?: ConfState;
  /** Terms of the entries behind the snapshot. */
  readonly log?: readonly number[];
  readonly snapshot?: Snapshot;
  readonly term?: number;
  readonly vote?: number;
  readonly commit?: number;
  readonly applied?: number;
}

/** A peer, its disk, and an application that remembers what it was given: a synchronous host. */
export class Host {
  node: RawNode;
  readonly storage: MemoryStorage;
  /** Everything applied, snapshots aside. */
  readonly applied: Entry[] = [];
  readonly readStates: ReadState[] = [];
  /** Memberships that came into force, in order. */
  readonly confStates: ConfState[] = [];
  /** What a snapshot of the application would be now. */
  snapshot: Snapshot;
  /** Sees every Ready before it is carried out. */
  onReady: ((ready: Ready) => void) | undefined;

  constructor(
    readonly options: RaftOptions,
    start: Start = {},
  ) {
    const snapshot = start.snapshot ?? {
      ...EMPTY_SNAPSHOT,
      confState: start.confState ?? EMPTY_SNAPSHOT.confState,
    };
    this.storage = new MemoryStorage(snapshot);
    this.snapshot = snapshot;
    this.storage.append(entriesOf(snapshot.index + 1, ...(start.log ?? [])));
    const commit = start.commit ?? snapshot.index;
    this.storage.hardState = { term: start.term ?? 0, vote: start.vote ?? 0, commit };
    this.node = new RawNode(options, this.storage.initialState(start.applied ?? snapshot.index));
  }

  get id(): number {
    return this.options.id;
  }

  /** The tables behind the machine, for what no caller needs to see. */
  get core(): RaftCore {
    return this.node.actor.getSnapshot().context.core;
  }

  /** The chart's own state, as a path. */
  get state(): string {
    const { value } = this.node.actor.getSnapshot();
    return typeof value === 'string' ? value : Object.entries(value).flat().join('.');
  }

  /** Terms of the whole log behind its snapshot. */
  get terms(): number[] {
    const { firstIndex, lastIndex, log } = { ...this.node.status(), log: this.core.log };
    return Array.from({ length: lastIndex - firstIndex + 1 }, (_, i) => log.term(firstIndex + i));
  }

  /** What was proposed and applied, as text; the protocol's own entries are left out. */
  get data(): string[] {
    return this.applied
      .filter(({ type, data }) => type === EntryType.normal && data.length > 0)
      .map(({ data }) => new TextDecoder().decode(data));
  }

  /** Carries out Readys until there are none. Returns what is for other peers. */
  settle(): Message[] {
    const sent: Message[] = [];
    for (this.answerFetches(); this.node.hasReady(); this.answerFetches()) {
      const ready = this.node.ready();
      this.onReady?.(ready);
      this.persist(ready);
      sent.push(...ready.messages);
      this.readStates.push(...ready.readStates);
      this.apply(ready.committedEntries);
      this.node.advance();
    }
    return sent;
  }

  persist(write: Pick<Ready, 'snapshot' | 'entries' | 'hardState'>): void {
    if (write.snapshot !== undefined) {
      this.storage.applySnapshot(write.snapshot);
      this.snapshot = write.snapshot;
    }
    this.storage.append(write.entries);
    if (write.hardState !== undefined) this.storage.hardState = write.hardState;
  }

  apply(entries: readonly Entry[]): void {
    for (const entry of entries) {
      this.applied.push(entry);
      let { confState } = this.snapshot;
      if (entry.type !== EntryType.normal) {
        confState = this.node.applyConfChange(decodeConfChange(entry));
        this.confStates.push(confState);
      }
      this.storage.confState = confState;
      this.snapshot = { index: entry.index, term: entry.term, confState, data: this.snapshot.data };
    }
  }

  answerFetches(): void {
    for (let wanted = this.node.fetches(); wanted.length > 0; wanted = this.node.fetches()) {
      for (const fetch of wanted) {
        if (fetch.kind === 'snapshot') this.node.snapshotFetched(fetch, this.snapshot);
        else this.node.entriesFetched(fetch, this.storage.read(fetch.low, fetch.high, fetch.maxBytes));
      }
    }
  }

  /** Forgets what is in memory and starts again from what is on disk. */
  restart(options: Partial<RaftOptions> = {}): void {
    this.node.stop();
    this.node = new RawNode({ ...this.options, ...options }, this.storage.initialState(this.snapshot.index));
  }

  /** Removes the log through `index` from disk. */
  compact(index: number): void {
    this.node.compact(index, this.storage.compact(index));
  }

  proposeAll(...texts: string[]): void {
    for (const text of texts) this.node.propose(bytes(text));
  }
}

/**
 * Peers that deliver to each other in one queue, in order, until nothing moves (etcd's and TinyKV's test network). What
 * does not get through is lost.
 */
export class Network {
  readonly hosts = new Map<number, Host>();
  /** Sees every message that would be delivered; false loses it. */
  hook: ((message: Message) => boolean) | undefined;
  private readonly chances = new Map<string, number>();
  private readonly ignored = new Set<MessageType>();
  private readonly queue: Message[] = [];

  constructor(
    hosts: Iterable<Host>,
    private readonly random: () => number = seededRandom(1),
  ) {
    for (const host of hosts) this.hosts.set(host.id, host);
  }

  /** `count` fresh voters with the same settings; those in `starts` begin with something. */
  static of(count: number, options: Partial<RaftOptions> = {}, starts: Record<number, Start> = {}): Network {
    const ids = Array.from({ length: count }, (_, i) => i + 1);
    const random = seededRandom(1);
    const settings = { ...PLAIN, random, ...options };
    return new Network(
      ids.map((id) => new Host({ ...settings, id }, { confState: voters(...ids), ...starts[id] })),
      random,
    );
  }

  host(id: number): Host {
    const host = this.hosts.get(id);
    if (host === undefined) throw new Error(`there is no peer ${id}`);
    return host;
  }

  /** Steps the messages, whatever they cause, and so on until it is quiet. */
  send(...messages: Message[]): void {
    this.queue.push(...messages);
    for (let message = this.queue.shift(); message !== undefined; message = this.queue.shift()) {
      const host = this.hosts.get(message.to);
      if (host === undefined) continue;
      host.node.step(message);
      this.take(host);
    }
  }

  /** Lets whatever the peers have to say take its course. */
  settle(): void {
    for (const host of this.hosts.values()) this.take(host);
    this.send();
  }

  campaign(id: number): void {
    this.host(id).node.campaign();
    this.settle();
  }

  propose(id: number, ...texts: string[]): void {
    this.host(id).proposeAll(...texts);
    this.settle();
  }

  /** Ticks the clocks of these peers, `times` times each, and lets each tick take its course. */
  tick(times: number, ...ids: number[]): void {
    for (let i = 0; i < times; i++) {
      for (const id of ids) this.host(id).node.tick();
      this.settle();
    }
  }

  /** Loses messages on this way with `chance`. */
  drop(from: number, to: number, chance = 1): void {
    this.chances.set(`${from}>${to}`, chance);
  }

  /** Nothing passes between the two. */
  cut(a: number, b: number): void {
    this.drop(a, b);
    this.drop(b, a);
  }

  /** Nothing passes between the peer and all others. */
  isolate(id: number): void {
    for (const other of this.hosts.keys()) if (other !== id) this.cut(id, other);
  }

  /** Loses messages of this kind. */
  ignore(type: MessageType): void {
    this.ignored.add(type);
  }

  /** Heals everything; a hook stays. */
  recover(): void {
    this.chances.clear();
    this.ignored.clear();
  }

  private take(host: Host): void {
    for (const message of host.settle()) {
      const chance = this.chances.get(`${message.from}>${message.to}`) ?? 0;
      if (this.ignored.has(message.type) || (chance > 0 && this.random() < chance)) continue;
      if (this.hook === undefined || this.hook(message)) this.queue.push(message);
    }
  }
}

/** A message from one peer to another. */
export function say(
  type: MessageType,
  from: number,
  to: number,
  fields: Partial<Omit<Message, 'type' | 'from' | 'to'>> = {},
): Message {
  return makeMessage({ ...fields, type, from, to });
}
