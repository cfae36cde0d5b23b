import { type ActorSystem, AskError, type Clock } from '../actors/index.js';
import type { metapb } from '../storage/proto/index.js';
import { backoffMs } from './client/backoff.js';
import { Pauses } from './client/pauses.js';
import { TroupeError, type TroupeErrorCode } from './errors.js';
import { LeaderSearch } from './leader-search.js';
import { pdpb, troupepb } from './proto/index.js';
import type { Protocol, ProtocolEvent } from './protocol.js';
import { STORE_GONE } from './store-gone.js';
import { composeTimestamp, PHYSICAL_END, TIMESTAMPS_PER_MS } from './timestamp.js';

type SchedulerKind = Extract<keyof Protocol, `pd.${string}`>;
type Reply<K extends SchedulerKind> = Protocol[K]['reply'];
/** A request without its header, which the client writes. */
type Body<K extends SchedulerKind> = Omit<Protocol[K]['request'], 'header'>;

export interface SchedulerClientOptions {
  readonly system: ActorSystem;
  /** The cluster's name, for sentences. */
  readonly cluster: string;
  /** Node names of the schedulers. */
  readonly schedulers: readonly string[];
  readonly clock: Clock;
  readonly random: () => number;
  /** What the data directory says; 0 (default) for whoever has none, who then learns it from the first reply. */
  readonly clusterId?: number;
}

export interface RequestOptions {
  /** Milliseconds until the request fails as `unavailable` (5 s). */
  readonly timeout?: number;
  readonly signal?: AbortSignal | undefined;
}

/** More than two election timeouts: within those the schedulers have a leader again that serves. */
const DEFAULT_TIMEOUT_MS = 5_000;
const PID_TIMEOUT_MS = 500;

/** Timestamps of the oracle. */
export interface SafePoints {
  /** Reads and prewrites of transactions that began below it are refused. */
  readonly transaction: bigint;
  /** What no read at or above it sees may be removed; at or below the other. */
  readonly gc: bigint;
}

const NO_CHANGE: Body<'pd.steerPlacement'> = {
  setting: undefined,
  scheduler: undefined,
  storeState: undefined,
  storeLabels: undefined,
  storeLimit: undefined,
};

/**
 * Talks to the scheduler that leads: finds it among the names, follows its hints, waits between tries.
 *
 * Every request may be repeated without harm, and is, until its time has run out.
 */
export class SchedulerClient {
  readonly #options: SchedulerClientOptions;
  /** Who answered last as the leader, or is to be asked first by the requests to come. */
  #leader: string | undefined;
  #clusterId: number;
  readonly #pauses: Pauses;

  constructor(options: SchedulerClientOptions) {
    if (options.schedulers.length === 0) {
      throw new TroupeError('invalid-argument', 'Give the name of at least one scheduler.');
    }
    this.#options = options;
    this.#clusterId = options.clusterId ?? 0;
    this.#pauses = new Pauses(options.clock);
  }

  /** The cluster's id; 0 until a scheduler has told it. */
  get clusterId(): number {
    return this.#clusterId;
  }

  /** Whether a node is one of the cluster's schedulers. */
  isScheduler(node: string): boolean {
    return this.#options.schedulers.includes(node);
  }

  /** Whether the cluster has its first region, and the figures fixed at its birth. */
  bootstrapInfo(options?: RequestOptions): Promise<pdpb.IsBootstrappedResponse> {
    return this.request('pd.bootstrapInfo', {}, options);
  }

  /**
   * Registers this store. `store.id` is the data directory's, 0 when it is empty; `store.incarnation` this start's.
   *
   * A store registers with id 0 once, makes the reply's identity durable, and shows that it did by its first heartbeat
   * or by registering again under the id; from then on the name is refused to an empty directory.
   * @throws TroupeError `identity` when name, directory and cluster do not belong together
   */
  putStore(store: metapb.Store, options?: RequestOptions): Promise<pdpb.PutStoreResponse> {
    return this.request('pd.putStore', { store }, options);
  }

  /** The first of `count` consecutive ids that nobody else was or will be given. */
  async allocIds(count: number, options?: RequestOptions): Promise<number> {
    return (await this.request('pd.allocId', { count }, options)).id;
  }

  /**
   * Timestamps that nobody else was or will be given, larger than every one that anybody had before the call.
   * @param count from 1 to MAX_TIMESTAMPS_AT_ONCE
   * @returns the first of `count` consecutive ones
   */
  async timestamps(count: number, options?: RequestOptions): Promise<bigint> {
    const { count: given, timestamp } = await this.request('pd.tso', { count }, options);
    const { physical = -1, logical = -1 } = timestamp ?? {};
    // The reply carries the last.
    const first = logical - (count - 1);
    if (
      given !== count ||
      physical < 0 ||
      physical >= PHYSICAL_END ||
      first < 0 ||
      logical >= TIMESTAMPS_PER_MS
    )
      throw new TroupeError(
        'failed',
        `The scheduler's answer is none to a request for ${count} timestamps: use a client and schedulers of the same version.`,
      );
    return composeTimestamp(physical, first);
  }

  /** Every store, those whose time is over included. */
  async getAllStores(options?: RequestOptions): Promise<readonly metapb.Store[]> {
    return (await this.request('pd.getAllStores', { excludeTombstoneStores: false }, options)).stores;
  }

  /** The region that holds a stored key; no region in the reply when the scheduler knows none. */
  getRegion(regionKey: Uint8Array, options?: RequestOptions): Promise<pdpb.GetRegionResponse> {
    return this.request('pd.getRegion', { regionKey }, options);
  }

  /** No region in the reply when the scheduler knows none: it was `merged`, or nobody has told of it yet. */
  getRegionById(regionId: number, options?: RequestOptions): Promise<pdpb.GetRegionResponse> {
    return this.request('pd.getRegionById', { regionId }, options);
  }

  /** Regions by key, beginning with the one that holds `startKey` (stored keys; empty for the ends). */
  async scanRegions(
    startKey: Uint8Array,
    endKey: Uint8Array,
    limit: number,
    options?: RequestOptions,
  ): Promise<readonly pdpb.Region[]> {
    return (await this.request('pd.scanRegions', { startKey, endKey, limit }, options)).regions;
  }

  /**
   * @throws TroupeError `identity` when another process has taken this store's place, or the store was removed from the
   * cluster (reason `store-tombstone`): it must stop
   */
  storeHeartbeat(stats: pdpb.StoreStats, options?: RequestOptions): Promise<pdpb.StoreHeartbeatResponse> {
    return this.request('pd.storeHeartbeat', { stats }, options);
  }

  /** @throws TroupeError `conflict` when the scheduler knows something newer about the region or its range */
  regionHeartbeat(
    heartbeat: Body<'pd.regionHeartbeat'>,
    options?: RequestOptions,
  ): Promise<pdpb.RegionHeartbeatResponse> {
    return this.request('pd.regionHeartbeat', heartbeat, options);
  }

  /**
   * Ids for the parts of a split: for each one region id and as many peer ids as the region has peers, in their order.
   * @throws TroupeError `conflict` when the scheduler knows something newer about the region, `not-found`
   */
  async askBatchSplit(
    region: metapb.Region,
    splitCount: number,
    options?: RequestOptions,
  ): Promise<readonly pdpb.SplitID[]> {
    return (await this.request('pd.askBatchSplit', { region, splitCount }, options)).ids;
  }

  /** Tells what a region became, all parts together. */
  async reportBatchSplit(regions: readonly metapb.Region[], options?: RequestOptions): Promise<void> {
    await this.request('pd.reportBatchSplit', { regions: [...regions] }, options);
  }

  /** Tells of regions that were merged into others, so that peers which have missed it may learn it. */
  async reportMerged(regionIds: readonly number[], options?: RequestOptions): Promise<void> {
    await this.request('pd.reportMerged', { regionIds: [...regionIds] }, options);
  }

  /** Below which transactions are refused, and below which versions may be gone. */
  async safePoints(options?: RequestOptions): Promise<SafePoints> {
    const { txnSafePoint, safePoint } = await this.request('pd.getGCSafePoint', {}, options);
    return { transaction: txnSafePoint, gc: safePoint };
  }

  /**
   * Has the scheduler keep what is visible at `safePoint`, in place of what the service held before. To be repeated before
   * the time is over; the last word under a name counts.
   * @param service the name of whoever needs it: 1 to 128 bytes, its own
   * @param ttl whole seconds from the scheduler's receipt on, 86,400 at most; 0: it is not needed any more
   * @returns the least that can be held: above `safePoint` it is too late, and nothing is held
   * @throws TroupeError `invalid-argument` also when too many services hold something
   */
  async updateServiceSafePoint(
    service: Uint8Array,
    ttl: number,
    safePoint: bigint,
    options?: RequestOptions,
  ): Promise<bigint> {
    const body = { serviceId: service, TTL: ttl, safePoint };
    return (await this.request('pd.updateServiceGCSafePoint', body, options)).minSafePoint;
  }

  /** What the collector of old versions does, and what holds it back. */
  async gcStatus(options?: RequestOptions): Promise<troupepb.GcStatus> {
    const { gc } = await this.request('pd.getGcStatus', {}, options);
    return gc ?? troupepb.GcStatus.from({});
  }

  /** Begins a round of the collector now. @throws TroupeError `conflict` when it is paused */
  async runGc(options?: RequestOptions): Promise<void> {
    await this.request('pd.runGc', {}, options);
  }

  status(options?: RequestOptions): Promise<Reply<'pd.getStatus'>> {
    return this.request('pd.getStatus', {}, options);
  }

  /** One store's record. @throws TroupeError `not-found` for a store that never was */
  async getStore(storeId: number, options?: RequestOptions): Promise<metapb.Store | undefined> {
    return (await this.request('pd.getStore', { storeId }, options)).store;
  }

  /** Settings and schedulers of placement, and what it does. */
  placement(options?: RequestOptions): Promise<Reply<'pd.getPlacement'>> {
    return this.request('pd.getPlacement', {}, options);
  }

  /**
   * Changes one thing of placement: a setting, a scheduler, or a store's state, labels or limit.
   * @throws TroupeError `invalid-argument`, `not-found` or `conflict`, by which nothing was changed
   */
  async steerPlacement(change: Partial<Body<'pd.steerPlacement'>>, options?: RequestOptions): Promise<void> {
    await this.request('pd.steerPlacement', { ...NO_CHANGE, ...change }, options);
  }

  /** Operators that wait or run, and the newest that have `ended`. */
  async operators(ended: boolean, options?: RequestOptions): Promise<readonly troupepb.OperatorInfo[]> {
    return (await this.request('pd.getOperators', { ended }, options)).operators;
  }

  /** @throws TroupeError `not-found`, or `conflict` when another operator stands in the way */
  async addOperator(
    operator: Body<'pd.addOperator'>,
    options?: RequestOptions,
  ): Promise<readonly troupepb.OperatorInfo[]> {
    return (await this.request('pd.addOperator', operator, options)).operators;
  }

  /** @throws TroupeError `not-found` when the region has none */
  async cancelOperator(regionId: number, options?: RequestOptions): Promise<void> {
    await this.request('pd.cancelOperator', { regionId }, options);
  }

  /** Regions in a state, by key. @param limit 0 for as many as the scheduler tells at once */
  async findRegions(
    state: string,
    limit: number,
    options?: RequestOptions,
  ): Promise<readonly troupepb.FoundRegion[]> {
    return (await this.request('pd.findRegions', { state, limit }, options)).regions;
  }

  /**
   * The process id of a scheduler, whether it leads or not.
   * @returns `undefined` when it does not answer in time
   */
  async pidOf(scheduler: string, options: RequestOptions = {}): Promise<number | undefined> {
    const { timeout = PID_TIMEOUT_MS, signal } = options;
    const event = { type: 'pd.getMembers', header: { clusterId: this.#clusterId } };
    try {
      const asked = this.#options.system
        .ref(`${scheduler}/pd`)
        .ask(event, { timeout: Math.min(timeout, PID_TIMEOUT_MS), ...(signal ? { signal } : {}) });
      const { members } = (await asked) as Reply<'pd.getMembers'>;
      return members.find(({ name }) => name === scheduler)?.pid;
    } catch (error) {
      if (error instanceof AskError && error.code !== 'aborted') return undefined;
      throw error;
    }
  }

  /**
   * Asks the leader, whoever that is by then.
   * @throws TroupeError `unavailable` when none answered in time, or what the scheduler's error means
   */
  async request<K extends SchedulerKind>(
    kind: K,
    body: Body<K>,
    options: RequestOptions = {},
  ): Promise<Reply<K>> {
    const { clock, random, schedulers, system } = this.#options;
    const { timeout = DEFAULT_TIMEOUT_MS, signal } = options;
    const deadline = clock.now() + timeout;
    const search = new LeaderSearch(schedulers, this.#leader);
    let trouble = 'no answer';
    for (let tries = 1; ; tries++) {
      this.#pauses.check(signal);
      const remaining = deadline - clock.now();
      if (remaining <= 0) throw this.#unavailable(timeout, trouble);
      const { node } = search;
      const event = { ...body, type: kind, header: { clusterId: this.#clusterId } } as ProtocolEvent<K>;
      let atOnce = false;
      try {
        const patience = { timeout: Math.min(remaining, search.patience), ...(signal ? { signal } : {}) };
        const reply = (await system.ref(`${node}/pd`).ask(event, patience)) as Reply<K>;
        const error = this.#checked(reply.header);
        if (error === undefined) {
          this.#leader = node;
          return reply;
        }
        trouble = error.message;
        atOnce = search.refused(error.leader);
      } catch (error) {
        if (!(error instanceof AskError)) throw error;
        if (error.code === 'refused') throw new TroupeError('failed', error.message, { cause: error });
        if (error.code === 'aborted') continue;
        trouble = error.message;
        search.silent();
      }
      // Unless another request has found out better meanwhile.
      if ((this.#leader ?? node) === node) this.#leader = search.node;
      if (atOnce) continue;
      await this.#pauses.wait(
        Math.min(backoffMs(tries, random), Math.max(0, deadline - clock.now())),
        signal,
      );
    }
  }

  /** The error to try again after; `undefined` when there is none. @throws TroupeError for all others */
  #checked(header: pdpb.ResponseHeader | undefined): pdpb.Error | undefined {
    const clusterId = header?.clusterId ?? 0;
    const error = header?.error;
    if (error !== undefined && error.type !== pdpb.ErrorType.OK) {
      if (error.type === pdpb.ErrorType.NOT_LEADER) return error;
      const reason = error.type === pdpb.ErrorType.STORE_TOMBSTONE ? STORE_GONE : undefined;
      throw new TroupeError(codeOf(error.type), error.message, { reason });
    }
    if (this.#clusterId === 0) this.#clusterId = clusterId;
    if (clusterId !== this.#clusterId) {
      throw new TroupeError(
        'identity',
        `The schedulers now serve another cluster (id ${clusterId}, was ${this.#clusterId}): connect again.`,
      );
    }
    return undefined;
  }

  /** Ends what is under way with `closed`. Idempotent. */
  close(): void {
    this.#pauses.close();
  }

  #unavailable(timeout: number, trouble: string): TroupeError {
    const { cluster, schedulers } = this.#options;
    return new TroupeError(
      'unavailable',
      `No scheduler of the cluster "${cluster}" served the request within ${Math.round(timeout)} ms (asked ${schedulers.join(', ')}; ${trouble}). Check the cluster's name and the NATS URL, and that a scheduler runs there.`,
    );
  }
}

function codeOf(type: pdpb.ErrorType): TroupeErrorCode {
  const { ErrorType } = pdpb;
  switch (type) {
    case ErrorType.NOT_BOOTSTRAPPED:
      return 'unavailable';
    case ErrorType.IDENTITY_MISMATCH:
    case ErrorType.STORE_TOMBSTONE:
      return 'identity';
    case ErrorType.REGION_NOT_FOUND:
    case ErrorType.ENTRY_NOT_FOUND:
      return 'not-found';
    case ErrorType.INVALID_VALUE:
      return 'invalid-argument';
    case ErrorType.ALREADY_BOOTSTRAPPED:
    case ErrorType.DUPLICATED_ENTRY:
      return 'conflict';
    default:
      return 'failed';
  }
}
