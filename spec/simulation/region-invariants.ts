import { type metapb, raft_serverpb } from '../../storage/proto/index.js';
import { type RegionImage, type StoreImage, type Voters, votersOfPeers } from './store-image.js';

interface Epoch {
  readonly confVer: number;
  readonly version: number;
}

/**
 * What must never happen to a region, whatever happens to its stores: its epoch goes back, on a disk, in what is told to
 * the scheduler, or in what that knows.
 */
export class RegionInvariants {
  readonly counts = { splits: 0, mergesPrepared: 0, merges: 0, rollbacks: 0, memberships: 0, joints: 0 };
  readonly #broken: (sentence: string) => void;
  /** The newest state of each region that some store has written. */
  readonly #newest = new Map<number, RegionImage>();
  /** Regions that were merged into another: their groups have ended. */
  readonly #merged = new Set<number>();
  /** Peers of which nothing but a tombstone is left on some disk. */
  readonly #ended = new Set<number>();
  /** Name of the store of each peer. */
  readonly #stores = new Map<number, string>();
  /** The newest epoch that each store has told the scheduler, by store and region. */
  readonly #reported = new Map<string, Epoch>();
  /** What each life of a store has told of each region. */
  readonly #said = new Set<string>();
  /** The newest epoch of each region that the scheduler has written, whether it knows it still or not. */
  readonly #known = new Map<number, Epoch>();

  constructor(broken: (sentence: string) => void) {
    this.#broken = broken;
  }

  /** Regions that ever were. */
  get count(): number {
    return this.#newest.size;
  }

  /** Whose votes count in the newest membership of a region's group; `undefined` when that has ended. */
  votersOf(region: number): Voters | undefined {
    const newest = this.#newest.get(region);
    if (newest === undefined || this.#merged.has(region)) return undefined;
    return votersOfPeers(newest.peers);
  }

  storeOf(peer: number): string | undefined {
    return this.#stores.get(peer);
  }

  /** The peer was removed, and is gone with all that it held. */
  hasEnded(peer: number): boolean {
    return this.#ended.has(peer);
  }

  /** A store is about to write a region's state. */
  writes(store: string, region: number, to: RegionImage, from: RegionImage | undefined): void {
    // The end of a peer that never had its region says nothing of that.
    if (from !== undefined && isOlder(to, from) && to.peers.length > 0)
      this.#broken(`${store} takes region ${region} back from epoch ${epoch(from)} to ${epoch(to)}`);
    // A store's name ends in its id.
    for (const { id, storeId } of to.peers) this.#stores.set(id, `store-${storeId}`);
    if (to.state === raft_serverpb.PeerState.Tombstone) this.#ended.add(to.peerId);
    if (
      to.state === raft_serverpb.PeerState.Tombstone &&
      to.target !== undefined &&
      !this.#merged.has(region)
    ) {
      this.#merged.add(region);
      this.counts.merges++;
    }
    this.#learn(region, to);
  }

  #learn(region: number, to: RegionImage): void {
    const newest = this.#newest.get(region);
    // A peer that was told of its end by others keeps the members that it knew.
    const hearsay =
      to.state === raft_serverpb.PeerState.Tombstone && to.peers.some(({ id }) => id === to.peerId);
    if (hearsay || (newest !== undefined && !isNewer(to, newest))) return;
    this.#newest.set(region, to);
    if (newest === undefined) {
      if (to.version > 1) this.counts.splits++;
      return;
    }
    if (to.state === raft_serverpb.PeerState.Merging) this.counts.mergesPrepared++;
    else if (newest.state === raft_serverpb.PeerState.Merging) this.counts.rollbacks++;
    else if (to.confVer > newest.confVer) {
      this.counts.memberships++;
      if (votersOfPeers(to.peers).outgoing.length > 0) this.counts.joints++;
    }
  }

  /** A tombstone has served its time. */
  collected(store: string, region: number): void {
    this.#reported.delete(`${store}/${region}`);
  }

  /**
   * A leader told the scheduler about its region. What the same life has told before is sent again while no reply comes, by
   * when there may be something newer, or nothing at all any more.
   */
  reports(store: string, name: string, region: number, said: Epoch): void {
    const key = `${name}/${region}`;
    const words = `${store}/${region}/${epoch(said)}`;
    if (this.#said.has(words)) return;
    this.#said.add(words);
    const before = this.#reported.get(key);
    if (before !== undefined && isOlder(said, before))
      this.#broken(`${store} reports region ${region} at epoch ${epoch(said)}, after ${epoch(before)}`);
    else this.#reported.set(key, said);
  }

  /** A start finds no region older than the scheduler has heard of it. */
  found(store: string, name: string, image: StoreImage): void {
    for (const [key, said] of this.#reported) {
      if (!key.startsWith(`${name}/`)) continue;
      const region = Number(key.slice(name.length + 1));
      const state = image.regions.get(region);
      if (state?.peers.length === 0) continue;
      if (state === undefined || isOlder(state, said))
        this.#broken(
          `${store} starts with region ${region} at ${state === undefined ? 'nothing' : `epoch ${epoch(state)}`}, and has reported ${epoch(said)}`,
        );
    }
  }

  /** The scheduler writes what it knows of a region. */
  schedulerWrites({ id, regionEpoch }: metapb.Region): void {
    const { confVer = 0, version = 0 } = regionEpoch ?? {};
    const to = { confVer, version };
    const known = this.#known.get(id);
    if (known !== undefined && isOlder(to, known))
      this.#broken(`the scheduler takes region ${id} back from epoch ${epoch(known)} to ${epoch(to)}`);
    this.#known.set(id, to);
  }

  /**
   * It had to go because a newer one covers it. What a leader that was deposed says of it late may be believed then, until the next
   * heartbeat of its leader: as with PD, whoever uses it is told by its members.
   */
  schedulerRemoves(id: number): void {
    this.#known.delete(id);
  }

  /** What the scheduler's disk holds at a start: what was not durable may be done again. */
  schedulerFound(regions: readonly metapb.Region[]): void {
    this.#known.clear();
    for (const region of regions) this.schedulerWrites(region);
  }
}

function isOlder(one: Epoch, than: Epoch): boolean {
  return one.confVer < than.confVer || one.version < than.version;
}

function isNewer(one: Epoch, than: Epoch): boolean {
  return !isOlder(one, than) && (one.confVer > than.confVer || one.version > than.version);
}

function epoch({ confVer, version }: Epoch): string {
  return `${confVer}/${version}`;
}
