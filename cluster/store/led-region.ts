import { metapb } from '../../storage/proto/index.js';
import type { pdpb } from '../proto/index.js';
import type { RaftGroup } from '../raft/group.js';
import { type Flow, FlowMeter } from './region-flow.js';

/** What a leader sees of one other member. */
interface MemberHealth {
  readonly down: boolean;
  readonly pending: boolean;
}

export interface LedRegionOptions {
  readonly group: RaftGroup;
  readonly region: metapb.Region;
  readonly flow: Flow;
  /** Milliseconds on the store's clock. */
  readonly now: number;
  /** Unix seconds. */
  readonly unixSeconds: number;
  /** Milliseconds since a store was heard that is missing; `undefined` while it is not. */
  readonly silenceOf: (storeId: number) => number | undefined;
}

/** Milliseconds for which a voter that has not answered a new leader is taken for whole. */
const BENEFIT_OF_DOUBT_MS = 1_000;

/**
 * A region for as long as this store leads it in one term: when and what the scheduler was told of it, and how its members
 * are.
 *
 * A member is down when it was not heard for an election timeout or two, or its store is missing (which is how a leader that
 * sleeps learns it). It is pending while its log does not reach the leader's: it needs a snapshot, or is getting one.
 */
export class LedRegion {
  readonly term: number;
  readonly flow: FlowMeter;
  /** On the store's clock; in the past for ever when it is to be told. */
  reportedAt = Number.NEGATIVE_INFINITY;
  readonly #options: Pick<LedRegionOptions, 'group' | 'silenceOf'>;
  readonly #electedAt: number;
  /** Members that a new leader knows nothing of until they answer; those that it adds itself have nothing yet. */
  readonly #electedWith: readonly metapb.Peer[];
  /** Of members that are not heard at the moment. */
  #silentSince: Map<number, number> | undefined;
  /** Members that the scheduler was told are not whole. */
  #told: Map<number, MemberHealth> | undefined;

  constructor(options: LedRegionOptions) {
    this.#options = options;
    this.term = options.group.term;
    this.flow = new FlowMeter(options.flow, options.unixSeconds);
    this.#electedAt = options.now;
    this.#electedWith = options.region.peers;
  }

  /** As the scheduler was told: no member is down or pending. */
  get isWhole(): boolean {
    return this.#told === undefined;
  }

  /** Looks at every member. @returns whether one of them is down or pending, or no more so, which the scheduler was not told */
  hasNews(region: metapb.Region, now: number): boolean {
    // Who sleeps learns of its members by their stores alone.
    if (this.#options.group.asleep && this.isWhole && !this.#lacksStore(region)) return false;
    let news = false;
    for (const peer of region.peers) {
      if (peer.id === this.#options.group.peerId) continue;
      this.#listen(peer.id, now);
      const told = this.#told?.get(peer.id);
      if (this.#isDown(peer) !== (told?.down ?? false)) news = true;
      else if (this.#isPending(peer, now) !== (told?.pending ?? false)) news = true;
    }
    return news;
  }

  /** What a heartbeat says of the members; it counts as told from now on. */
  tell(region: metapb.Region, now: number): { downPeers: pdpb.PeerStats[]; pendingPeers: metapb.Peer[] } {
    const downPeers: pdpb.PeerStats[] = [];
    const pendingPeers: metapb.Peer[] = [];
    this.#told = undefined;
    for (const peer of region.peers) {
      if (peer.id === this.#options.group.peerId) continue;
      this.#listen(peer.id, now);
      const down = this.#isDown(peer);
      const pending = this.#isPending(peer, now);
      if (down) downPeers.push({ peer, downSeconds: Math.floor(this.#silence(peer, now) / 1000) });
      if (pending) pendingPeers.push(peer);
      if (!down && !pending) continue;
      this.#told ??= new Map();
      this.#told.set(peer.id, { down, pending });
    }
    this.reportedAt = now;
    return { downPeers, pendingPeers };
  }

  /** The core says whether a member was heard of late, not when: it is looked at every second. */
  #listen(peerId: number, now: number): void {
    const { group } = this.#options;
    const member = group.raft.memberProgress(peerId);
    if (member === undefined || member.recentActive) this.#silentSince?.delete(peerId);
    else if (!group.asleep && this.#silentSince?.has(peerId) !== true) {
      this.#silentSince ??= new Map();
      this.#silentSince.set(peerId, now);
    }
  }

  #lacksStore({ peers }: metapb.Region): boolean {
    return peers.some(({ storeId }) => this.#options.silenceOf(storeId) !== undefined);
  }

  #isDown({ id, storeId }: metapb.Peer): boolean {
    const member = this.#options.group.raft.memberProgress(id);
    if (member === undefined) return false;
    return !(member.recentActive || member.wasActive) || this.#options.silenceOf(storeId) !== undefined;
  }

  #isPending(peer: metapb.Peer, now: number): boolean {
    const { raft } = this.#options.group;
    const member = raft.memberProgress(peer.id);
    if (member === undefined) return false;
    if (member.state === 'snapshot') return true;
    if (member.match + 1 >= raft.firstIndex) return false;
    const unheard = member.match === 0 && now - this.#electedAt < BENEFIT_OF_DOUBT_MS;
    return !(unheard && this.#votedBefore(peer));
  }

  /** Of a learner it is not known whether it ever caught up. */
  #votedBefore({ id }: metapb.Peer): boolean {
    return this.#electedWith.some((peer) => peer.id === id && peer.role !== metapb.PeerRole.Learner);
  }

  /** Milliseconds since a member that is down was heard, or since the election. */
  #silence({ id, storeId }: metapb.Peer, now: number): number {
    const bySilence = now - (this.#silentSince?.get(id) ?? now);
    const byStore = this.#options.silenceOf(storeId) ?? 0;
    return Math.min(now - this.#electedAt, Math.max(bySilence, byStore));
  }
}
