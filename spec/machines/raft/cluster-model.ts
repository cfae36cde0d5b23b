import {
  type ConfChange,
  decodeConfChange,
  type Entry,
  EntryType,
  type Message,
  type RaftOptions,
  RawNode,
  type Snapshot,
  type StorageAppend,
  type StorageApply,
} from '../../../machines/index.js';
import { MemoryStorage } from './memory-storage.js';
import { bytes, PLAIN, seededRandom, voters } from './network.js';

/** A peer whose disk is slow: writes and applications are finished some time after they were handed over. */
interface SlowPeer {
  readonly id: number;
  node: RawNode | undefined;
  readonly storage: MemoryStorage;
  snapshot: Snapshot;
  appends: StorageAppend[];
  applies: StorageApply[];
}

/** How the model's world behaves. Chances are per step. */
export interface Weather {
  readonly loss: number;
  readonly duplication: number;
  readonly crashes: number;
  readonly memberships: boolean;
  /** Share of the steps that are ticks: the more, the more elections. */
  readonly ticks: number;
  /** A planted bug: who restarts has forgotten whom it voted for. */
  readonly forgetsVotes?: boolean;
  readonly options: Partial<RaftOptions>;
}

/**
 * A group under loss, reordering, duplication, slow disks, crashes that lose what was not on disk, compaction, snapshots
 * and membership changes, all from one seed. After every step the paper's safety properties (figure 3) are checked.
 */
export class ClusterModel {
  private readonly random: () => number;
  private readonly peers = new Map<number, SlowPeer>();
  private inFlight: Message[] = [];
  /** The leader of each term (election safety). */
  private readonly leaders = new Map<number, number>();
  /** What was applied at each index, by whoever came first (state machine safety). */
  private readonly applied: string[] = [];
  private proposals = 0;
  readonly counts = { elections: 0, applied: 0, snapshots: 0, crashes: 0, confChanges: 0 };

  constructor(
    seed: number,
    private readonly weather: Weather,
  ) {
    this.random = seededRandom(seed);
    const ids = [1, 2, 3, 4, 5];
    const members = weather.memberships ? [1, 2, 3] : ids;
    const confState = voters(...members);
    for (const id of ids) {
      const known = members.includes(id);
      const snapshot: Snapshot = known
        ? { index: 5, term: 5, confState, data: bytes('') }
        : { index: 0, term: 0, confState: voters(), data: bytes('') };
      const peer: SlowPeer = {
        id,
        node: undefined,
        storage: new MemoryStorage(snapshot),
        snapshot,
        appends: [],
        applies: [],
      };
      if (known) peer.storage.hardState = { term: 5, vote: 0, commit: 5 };
      this.peers.set(id, peer);
      this.start(peer);
    }
  }

  /** One random thing happens. */
  step(): void {
    const chance = this.random();
    const peer = this.pick([...this.peers.values()]);
    if (chance < this.weather.crashes) this.crash(peer);
    else if (peer.node === undefined) this.start(peer);
    else if (this.random() < this.weather.ticks) peer.node.tick();
    else if (chance < 0.08) this.propose(peer.node);
    else if (chance < 0.1) this.compact(peer);
    else if (chance < 0.12) this.read(peer.node);
    else if (chance < 0.13 && this.weather.memberships) this.reconfigure(peer.node);
    else if (chance < 0.132) peer.node.transferLeader(this.pick([...this.peers.keys()]));
    else if (chance < 0.5) this.deliver();
    else if (chance < 0.7) this.takeReady(peer);
    else if (chance < 0.88) this.finishAppend(peer);
    else this.finishApply(peer);
    this.checkLeaders();
  }

  /** The storm ends: everything is delivered, until one leader has made everybody equal. Returns its rounds, or -1. */
  calm(): number {
    for (const peer of this.peers.values()) if (peer.node === undefined) this.start(peer);
    for (let round = 1; round <= 400; round++) {
      for (const { node } of this.peers.values()) node?.tick();
      for (let busy = true; busy; ) {
        busy = this.inFlight.length > 0;
        while (this.inFlight.length > 0) this.hand(this.inFlight.shift() as Message);
        for (const peer of this.peers.values()) {
          busy = busy || peer.node?.hasReady() === true || peer.appends.length > 0 || peer.applies.length > 0;
          this.takeReady(peer);
          while (peer.appends.length > 0) this.finishAppend(peer);
          while (peer.applies.length > 0) this.finishApply(peer);
        }
        this.checkLeaders();
      }
      if (this.isWhole()) return round;
      if (round % 20 === 0) this.giveUpSnapshots();
    }
    return -1;
  }

  /** A snapshot that was lost on its way is never answered: its sender's host must say so, as after a timeout. */
  private giveUpSnapshots(): void {
    for (const { node } of this.peers.values()) {
      for (const [id, { state }] of node?.status().progress ?? []) {
        if (state === 'snapshot') node?.reportSnapshot(id, false);
      }
    }
  }

  private isWhole(): boolean {
    const leaders = [...this.peers.values()].filter(({ node }) => node?.role === 'leader');
    const [leader] = leaders;
    if (leaders.length !== 1 || leader?.node === undefined) return false;
    const { configuration, commit, lastIndex } = leader.node.status();
    const members = [...configuration.voters, ...configuration.outgoing, ...configuration.learners];
    return (
      commit === lastIndex &&
      members.includes(leader.id) &&
      members.every((id) => this.peers.get(id)?.node?.applied === commit)
    );
  }

  // What happens

  private start(peer: SlowPeer): void {
    if (this.weather.forgetsVotes) peer.storage.hardState = { ...peer.storage.hardState, vote: 0 };
    const options = {
      ...PLAIN,
      ...this.weather.options,
      id: peer.id,
      random: this.random,
      asyncStorageWrites: true,
    };
    peer.node = new RawNode(options, peer.storage.initialState(peer.snapshot.index));
  }

  private crash(peer: SlowPeer): void {
    if (peer.node === undefined) return;
    this.counts.crashes++;
    peer.node.stop();
    peer.node = undefined;
    // What was handed over and not finished may be lost; the application's state is as durable as the log.
    peer.appends = [];
    peer.applies = [];
  }

  private propose(node: RawNode): void {
    const count = 1 + Math.floor(this.random() * 3);
    node.proposeBatch(Array.from({ length: count }, () => bytes(`value ${this.proposals++}`)));
  }

  private read(node: RawNode): void {
    node.readIndex(bytes('read'));
  }

  private reconfigure(node: RawNode): void {
    const { configuration } = node.status();
    const change: ConfChange =
      configuration.outgoing.length > 0
        ? { transition: 'auto', changes: [], context: bytes('') }
        : {
            transition: this.pick(['auto', 'implicit', 'explicit'] as const),
            changes: Array.from({ length: 1 + Math.floor(this.random() * 2) }, () => ({
              kind: this.pick(['addVoter', 'addVoter', 'addLearner', 'removeNode'] as const),
              id: 1 + Math.floor(this.random() * 5),
            })),
            context: bytes(''),
          };
    // A group of one that loses its only disk cannot be checked for anything.
    if (change.transition === 'auto' && change.changes.length === 1 && configuration.voters.length <= 2)
      return;
    node.proposeConfChange(change);
  }

  private compact(peer: SlowPeer): void {
    const { node, storage, snapshot } = peer;
    if (node === undefined || node.applied < storage.firstIndex || snapshot.index < node.applied) return;
    const last = Math.min(node.applied, storage.lastIndex);
    const index = storage.firstIndex + Math.floor(this.random() * (last - storage.firstIndex + 1));
    node.compact(index, storage.compact(index));
  }

  private deliver(): void {
    if (this.inFlight.length === 0) return;
    // A network that holds back too much delivers nothing in time: it loses something instead.
    while (this.inFlight.length > 40)
      this.inFlight.splice(Math.floor(this.random() * this.inFlight.length), 1);
    const at = Math.floor(this.random() * this.inFlight.length);
    const message = this.inFlight[at] as Message;
    if (this.random() >= this.weather.duplication) this.inFlight.splice(at, 1);
    if (this.random() >= this.weather.loss) this.hand(message);
  }

  private hand(message: Message): void {
    const peer = this.peers.get(message.to);
    peer?.node?.step(message);
    if (peer !== undefined) this.answerFetches(peer);
  }

  private takeReady(peer: SlowPeer): void {
    const { node } = peer;
    if (node === undefined) return;
    this.answerFetches(peer);
    if (!node.hasReady()) return;
    const ready = node.ready();
    this.inFlight.push(...ready.messages);
    if (ready.append !== undefined) peer.appends.push(ready.append);
    if (ready.apply !== undefined) peer.applies.push(ready.apply);
  }

  private finishAppend(peer: SlowPeer): void {
    const work = peer.appends.shift();
    if (work === undefined) return;
    const { storage } = peer;
    if (work.snapshot !== undefined) {
      this.counts.snapshots++;
      storage.applySnapshot(work.snapshot);
      peer.snapshot = work.snapshot;
    }
    storage.append(work.entries);
    if (work.hardState !== undefined) storage.hardState = work.hardState;
    this.respond(peer, work.responses);
  }

  private finishApply(peer: SlowPeer): void {
    const work = peer.applies.shift();
    if (work === undefined) return;
    for (const entry of work.entries) {
      // One that a snapshot has overtaken is in the state already.
      if (entry.index > peer.snapshot.index) this.apply(peer, entry);
    }
    this.respond(peer, work.responses);
  }

  private apply(peer: SlowPeer, entry: Entry): void {
    if (entry.index !== peer.snapshot.index + 1) {
      throw new Error(`peer ${peer.id} applies ${entry.index} behind ${peer.snapshot.index}`);
    }
    this.counts.applied++;
    const content = `${entry.term} ${entry.type} ${new TextDecoder().decode(entry.data)}`;
    const known = this.applied[entry.index];
    if (known !== undefined && known !== content) {
      throw new Error(`index ${entry.index} was applied as "${known}" and, by ${peer.id}, as "${content}"`);
    }
    this.applied[entry.index] = content;
    let { confState } = peer.snapshot;
    if (entry.type !== EntryType.normal && peer.node !== undefined) {
      this.counts.confChanges++;
      confState = peer.node.applyConfChange(decodeConfChange(entry));
    }
    // Durable at once, and so sometimes ahead of the commit index on disk.
    peer.storage.confState = confState;
    peer.snapshot = { index: entry.index, term: entry.term, confState, data: bytes('') };
  }

  private respond(peer: SlowPeer, responses: readonly Message[]): void {
    for (const response of responses) {
      if (response.to === peer.id) peer.node?.step(response);
      else this.inFlight.push(response);
    }
    this.answerFetches(peer);
  }

  private answerFetches({ node, storage, snapshot }: SlowPeer): void {
    if (node === undefined) return;
    for (const fetch of node.fetches()) {
      if (fetch.kind === 'snapshot') node.snapshotFetched(fetch, this.random() < 0.8 ? snapshot : undefined);
      else node.entriesFetched(fetch, storage.read(fetch.low, fetch.high, fetch.maxBytes));
    }
  }

  // What must hold

  private checkLeaders(): void {
    for (const { id, node } of this.peers.values()) {
      if (node?.role !== 'leader') continue;
      const known = this.leaders.get(node.term);
      if (known !== undefined && known !== id)
        throw new Error(`term ${node.term} has two leaders, ${known} and ${id}`);
      if (known !== undefined) continue;
      this.counts.elections++;
      this.leaders.set(node.term, id);
      this.checkCompleteness(node);
    }
  }

  /** A new leader's log holds everything that was ever applied (leader completeness). */
  private checkCompleteness(leader: RawNode): void {
    const { firstIndex } = leader.status();
    for (let index = Math.max(firstIndex, 6); index < this.applied.length; index++) {
      const content = this.applied[index];
      if (content === undefined) continue;
      if (Number(content.split(' ')[0]) !== leader.termAt(index)) {
        throw new Error(`leader ${leader.id} of term ${leader.term} lacks the applied entry ${index}`);
      }
    }
  }

  /** Logs that share an entry's position share everything before it (log matching). */
  checkLogs(): void {
    const logs = [...this.peers.values()].flatMap(({ node }) => (node === undefined ? [] : [node]));
    for (const a of logs) {
      for (const b of logs) {
        const low = Math.max(a.status().firstIndex, b.status().firstIndex);
        let matching = false;
        for (let index = Math.min(a.lastIndex, b.lastIndex); index >= low; index--) {
          const same = a.termAt(index) === b.termAt(index);
          if (matching && !same)
            throw new Error(`the logs of ${a.id} and ${b.id} match behind ${index} but not there`);
          matching = same;
        }
      }
    }
  }

  private pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.random() * from.length)] as T;
  }
}
