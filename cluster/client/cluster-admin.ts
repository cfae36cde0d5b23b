import type { ActorSystem } from '../../actors/index.js';
import type { KeySpace } from '../../storage/keys.js';
import { TroupeError } from '../errors.js';
import type { SchedulerClient } from '../pd-client.js';
import type { Protocol, ProtocolEvent } from '../protocol.js';
import { type AdminCallOptions, checkIds, isCount } from './call-options.js';
import { allRegions, type ClusterStatus, clusterStatus } from './cluster-status.js';
import { Deadline, type WaitingParts } from './deadline.js';
import { GcAdmin } from './gc.js';
import { PlacementAdmin } from './placement.js';
import type { Bytes } from './raw.js';
import type { ChangeCall, RegionChangeOptions } from './region-change.js';
import { checkRegion, type RegionCheckReport } from './region-checks.js';
import { noRegionYet, type RegionInfo, regionInfo, unknownRegion } from './region-info.js';
import type { LeaderQuestion } from './region-leader.js';
import { addLearner, addPeer, promote, removePeer, transferLeader } from './region-members.js';
import { mergeRegions } from './region-merges.js';
import { movePeer } from './region-moves.js';
import { type SplitPlace, splitAtKeys, splitInHalf, storedKey } from './region-splits.js';
import type { TimestampClient } from './timestamps.js';

/** Where a split is to fall, and how it is asked for. */
export interface SplitOptions extends RegionChangeOptions, SplitPlace {}

export interface ClusterAdminOptions extends WaitingParts {
  readonly system: ActorSystem;
  readonly scheduler: SchedulerClient;
  readonly timestamps: TimestampClient;
  /** Milliseconds of a call that says nothing else. */
  readonly timeout: number;
}

/**
 * Sees the cluster as its scheduler does, and steers its regions.
 *
 * Changes of a region reject with a `TroupeError`. Its `reason` tells the cases of a refusal apart, by which the region is
 * as it was: `not-found` (`store-unknown`, `peer-unknown`), `conflict` (`peer-exists`, `not-adjacent`,
 * `epoch-not-match`, …), `invalid-argument` (`split-key-outside`, …). Where the reason is a passing one (another change
 * is under way, a follower is behind) they are asked for again until the deadline: `timeout` and `unavailable` then say
 * that nothing was changed, or, when the sentence says so, that the effect is still awaited; `undetermined` that nobody
 * knows. Abort leaves open whether what was sent happens.
 */
export class ClusterAdmin {
  /** How regions are placed: settings, schedulers, stores and operators. */
  readonly placement: PlacementAdmin;
  /** How old versions of transactional keys are collected. */
  readonly gc: GcAdmin;
  readonly #options: ClusterAdminOptions;

  constructor(options: ClusterAdminOptions) {
    this.#options = options;
    this.placement = new PlacementAdmin(options);
    this.gc = new GcAdmin(options);
  }

  /** Nodes, stores and regions. @throws TroupeError `unavailable` when no scheduler answers */
  async status(options: AdminCallOptions = {}): Promise<ClusterStatus> {
    return clusterStatus(this.#options.scheduler, this.#deadline(options));
  }

  /**
   * A timestamp that nobody else was or will be given: 46 bits of Unix milliseconds, then 18 bits that count within one.
   * It is larger than every one that anybody, anywhere, was given before the call, and those of one connection grow in the
   * order of the calls. Calls that are under way together share a request.
   * @throws TroupeError `unavailable` when no scheduler gave one in time
   */
  timestamp(options: AdminCallOptions = {}): Promise<bigint> {
    return this.#options.timestamps.timestamp(options);
  }

  /** Every region, by key. @throws TroupeError `unavailable` when no scheduler answers */
  async regions(options: AdminCallOptions = {}): Promise<RegionInfo[]> {
    return allRegions(this.#options.scheduler, this.#deadline(options));
  }

  /** @throws TroupeError `not-found` for an unknown region, `unavailable` when no scheduler answers */
  async region(regionId: number, options: AdminCallOptions = {}): Promise<RegionInfo> {
    checkIds(regionId);
    const { region, ...told } = await this.#options.scheduler.getRegionById(
      regionId,
      this.#deadline(options).terms,
    );
    if (region === undefined) throw unknownRegion(regionId);
    return regionInfo({ region, ...told });
  }

  /** The region that holds a user key. @throws TroupeError `invalid-argument`; `unavailable` when none is known yet */
  async regionOf(
    key: Bytes,
    options: AdminCallOptions & { readonly space?: KeySpace } = {},
  ): Promise<RegionInfo> {
    const stored = storedKey(key, options.space);
    const { region, ...told } = await this.#options.scheduler.getRegion(
      stored,
      this.#deadline(options).terms,
    );
    if (region === undefined) throw noRegionYet(stored);
    return regionInfo({ region, ...told });
  }

  /**
   * Splits a region before each of some user keys; the last part keeps the region's id.
   * @returns the parts in order, each with a leader unless the call does not wait
   */
  async splitRegion(keys: Bytes | readonly Bytes[], options: SplitOptions = {}): Promise<RegionInfo[]> {
    const list = typeof keys === 'string' || keys instanceof Uint8Array ? [keys] : keys;
    return splitAtKeys(
      this.#call(options, ...(options.region === undefined ? [] : [options.region])),
      list,
      options,
    );
  }

  /** Splits a region at the middle of its data. @returns both parts, as `splitRegion` does */
  async splitRegionInHalf(regionId: number, options: RegionChangeOptions = {}): Promise<RegionInfo[]> {
    return splitInHalf(this.#call(options, regionId), regionId);
  }

  /**
   * Merges a region into its neighbour, which must have its peers on the same stores.
   * @param options `epoch` is the source's
   * @returns the region that has the keys of both; the source, as it is being merged, when the call does not wait
   * @throws TroupeError `conflict` also when the merge was rolled back (`merge-rolled-back`)
   */
  async mergeRegions(
    sourceId: number,
    targetId: number,
    options: RegionChangeOptions = {},
  ): Promise<RegionInfo> {
    return mergeRegions(this.#call(options, sourceId, targetId), sourceId, targetId);
  }

  /** Makes the peer on a store the leader. @returns the region, led by it unless the call does not wait */
  async transferLeader(
    regionId: number,
    storeId: number,
    options: RegionChangeOptions = {},
  ): Promise<RegionInfo> {
    return transferLeader(this.#call(options, regionId, storeId), regionId, storeId);
  }

  /** Adds a voter on a store; it counts at once. @returns the region, with the peer caught up unless the call does not wait */
  async addPeer(regionId: number, storeId: number, options: RegionChangeOptions = {}): Promise<RegionInfo> {
    return addPeer(this.#call(options, regionId, storeId), regionId, storeId);
  }

  /** Adds a peer that follows but does not vote. @returns the region, with the peer caught up unless the call does not wait */
  async addLearner(
    regionId: number,
    storeId: number,
    options: RegionChangeOptions = {},
  ): Promise<RegionInfo> {
    return addLearner(this.#call(options, regionId, storeId), regionId, storeId);
  }

  /** Makes a voter of the learner on a store. @returns the region */
  async promote(regionId: number, storeId: number, options: RegionChangeOptions = {}): Promise<RegionInfo> {
    return promote(this.#call(options, regionId, storeId), regionId, storeId);
  }

  /** Removes the peer on a store; a leader hands over first. @returns the region */
  async removePeer(
    regionId: number,
    storeId: number,
    options: RegionChangeOptions = {},
  ): Promise<RegionInfo> {
    return removePeer(this.#call(options, regionId, storeId), regionId, storeId);
  }

  /**
   * Moves a peer from one store to another without ever having fewer voters, nor one that is behind: adds a learner,
   * waits until it has caught up, swaps both in one joint change, removes the old one. When it ends before that is done,
   * the same call goes on where it stands.
   * @param options `wait` concerns the last step only
   * @returns the region
   */
  async movePeer(
    regionId: number,
    fromStore: number,
    toStore: number,
    options: RegionChangeOptions = {},
  ): Promise<RegionInfo> {
    return movePeer(this.#call(options, regionId, fromStore, toStore), regionId, fromStore, toStore);
  }

  /**
   * Compares the data of a region's replicas at one place of its log. A replica that differs from the majority stops.
   * @throws TroupeError `not-found` for an unknown region, `unavailable` when nobody leads it, `timeout`
   */
  async checkRegion(region: number, options: AdminCallOptions = {}): Promise<RegionCheckReport> {
    checkIds(region);
    const terms = { timeout: options.timeout ?? this.#options.timeout, signal: options.signal };
    return checkRegion(this.#ask, this.#options.scheduler, region, terms);
  }

  #deadline({ timeout = this.#options.timeout, signal }: AdminCallOptions): Deadline {
    return new Deadline(this.#options, timeout, signal);
  }

  #call(options: RegionChangeOptions, ...ids: readonly number[]): ChangeCall {
    checkIds(...ids);
    const { scheduler, clock, random, pauses } = this.#options;
    const { epoch, wait = true } = options;
    if (epoch !== undefined && ![epoch.confVer, epoch.version].every(isCount)) {
      throw new TroupeError(
        'invalid-argument',
        'An epoch has a confVer and a version, both whole numbers above 0.',
      );
    }
    const parts = { scheduler, clock, random, pauses, askStore: this.#ask };
    return { parts, deadline: this.#deadline(options), epoch, wait };
  }

  readonly #ask = async <K extends LeaderQuestion>(
    node: string,
    event: ProtocolEvent<K>,
    patience: { readonly timeout: number; readonly signal?: AbortSignal },
  ): Promise<Protocol[K]['reply']> =>
    (await this.#options.system.ref(`${node}/store`).ask(event, patience)) as Protocol[K]['reply'];
}
