import { metapb } from '../../storage/proto/index.js';
import { TroupeError } from '../errors.js';
import type { SchedulerClient } from '../pd-client.js';
import { type AdminCallOptions, checkIds } from './call-options.js';
import { Deadline, type WaitingParts } from './deadline.js';
import { type OperatorRequest, operatorBody } from './operator-request.js';
import {
  type OperatorInfo,
  operatorInfo,
  PAUSED_FOR_GOOD,
  type PlacedRegionInfo,
  type PlacementInfo,
  placedRegions,
  placementInfo,
  type SchedulerInfo,
} from './placement-info.js';
import { allStores, isGone, labelsOf, replicasOn, type StoreInfo, unknownStore } from './store-info.js';

export interface PlacementAdminOptions extends WaitingParts {
  readonly scheduler: SchedulerClient;
  /** Milliseconds of a call that says nothing else. */
  readonly timeout: number;
}

/** How `takeOffline` waits, and whom it tells. */
export interface TakeOfflineOptions extends AdminCallOptions {
  /** Returns when the store has been drained and is gone (the default), or as soon as the scheduler drains it. */
  readonly wait?: boolean;
  /** Called while it waits, with the replicas that the store has left. */
  readonly progress?: (replicas: number) => void;
}

/** While a store is drained: every so many looks its replicas are counted, which reads all regions. */
const LOOKS_A_COUNT = 8;
const MAX_UINT32 = 0xffff_ffff;

/**
 * Sees and steers how the schedulers place regions on stores: `db.cluster.placement`.
 *
 * Every call rejects with a `TroupeError`: `invalid-argument` for what cannot be, `not-found` for a store, a region or
 * a scheduler that is not there, `conflict` for what stands in the way of something else (nothing was changed then),
 * `unavailable` when no scheduler answers in time.
 */
export class PlacementAdmin {
  readonly #options: PlacementAdminOptions;

  constructor(options: PlacementAdminOptions) {
    this.#options = options;
  }

  /** Settings, schedulers, and what placement does. */
  async read(options: AdminCallOptions = {}): Promise<PlacementInfo> {
    return placementInfo(await this.#scheduler.placement(this.#deadline(options).terms));
  }

  /**
   * Changes a setting.
   * @param name as in `read().settings`: `max-replicas`
   * @param value as people write it: `3`, `30m`, `54MiB`, `true`
   * @throws TroupeError `invalid-argument` for a name or value that is none, with what would be one
   */
  async set(name: string, value: string, options: AdminCallOptions = {}): Promise<void> {
    await this.#scheduler.steerPlacement({ setting: { name, value } }, this.#deadline(options).terms);
  }

  /**
   * Adds a scheduler; of one that runs already the limit is changed, and nothing else.
   * @param name `balance-region`, `balance-leader`, `hot-region`, `evict-leader-STORE` or `grant-leader-STORE`
   * @param options `limit`: operators of its own at once; 0 (the default) for none but the limits of all
   */
  async addScheduler(
    name: string,
    options: AdminCallOptions & { readonly limit?: number } = {},
  ): Promise<void> {
    const { limit = 0 } = options;
    checkCount('limit', limit, MAX_UINT32);
    const deadline = this.#deadline(options);
    const before = await this.#schedulerNamed(name, deadline);
    await this.#put({ name, limit, pausedUntil: before?.pausedUntil ?? 0 }, deadline);
  }

  /**
   * Lets a scheduler rest; its limit stays.
   * @param options `until`: Unix milliseconds; without it, until somebody resumes it
   */
  async pauseScheduler(
    name: string,
    options: AdminCallOptions & { readonly until?: number } = {},
  ): Promise<void> {
    const { until = PAUSED_FOR_GOOD } = options;
    checkCount('until', until, PAUSED_FOR_GOOD);
    const deadline = this.#deadline(options);
    await this.#put({ ...(await this.#running(name, deadline)), pausedUntil: until }, deadline);
  }

  /** Lets a scheduler work again; one that does not rest is left as it is. */
  async resumeScheduler(name: string, options: AdminCallOptions = {}): Promise<void> {
    const deadline = this.#deadline(options);
    await this.#put({ ...(await this.#running(name, deadline)), pausedUntil: 0 }, deadline);
  }

  /** Removes a scheduler until somebody adds it again; its operators go on. */
  async removeScheduler(name: string, options: AdminCallOptions = {}): Promise<void> {
    const scheduler = { name, removed: true, pausedUntil: 0, limit: 0 };
    await this.#scheduler.steerPlacement({ scheduler }, this.#deadline(options).terms);
  }

  /** Every store by id, those that are gone (`Tombstone`) included. */
  async stores(options: AdminCallOptions = {}): Promise<StoreInfo[]> {
    return allStores(this.#scheduler, this.#deadline(options));
  }

  /** @throws TroupeError `not-found` for a store that never was */
  async store(storeId: number, options: AdminCallOptions = {}): Promise<StoreInfo> {
    checkIds(storeId);
    const found = (await this.stores(options)).find(({ id }) => id === storeId);
    if (found === undefined) throw unknownStore(storeId);
    return found;
  }

  /**
   * Has a store drained: its replicas move to other stores, then it is gone for good. A store that is gone already is
   * left as it is.
   * @throws TroupeError `conflict` when too few stores would be left for the replicas, or when somebody cancelled it
   * meanwhile; `timeout` when it is not drained yet: that goes on, and the same call waits again
   */
  async takeOffline(storeId: number, options: TakeOfflineOptions = {}): Promise<void> {
    checkIds(storeId);
    const deadline = this.#deadline(options);
    if (isGone(await this.#store(storeId, deadline))) return;
    await this.#steerState(storeId, metapb.StoreState.Offline, deadline);
    if (options.wait ?? true) await this.#drained(storeId, deadline, options.progress);
  }

  /** Brings a store back that is being drained. @throws TroupeError `conflict` when it is not */
  async cancelOffline(storeId: number, options: AdminCallOptions = {}): Promise<void> {
    checkIds(storeId);
    await this.#steerState(storeId, metapb.StoreState.Up, this.#deadline(options));
  }

  /**
   * Sets labels of a store, which tell where it is, and removes others; those that are not named stay. Of two callers
   * at once the later one wins.
   * @returns all labels that it has now
   */
  async label(
    storeId: number,
    labels: Readonly<Record<string, string>>,
    options: AdminCallOptions & { readonly remove?: readonly string[] } = {},
  ): Promise<Record<string, string>> {
    checkIds(storeId);
    const { remove = [] } = options;
    const deadline = this.#deadline(options);
    const now = { ...labelsOf(await this.#store(storeId, deadline)), ...labels };
    for (const key of remove) {
      if (!Object.hasOwn(now, key)) {
        const has = Object.keys(now).join(', ') || 'none';
        throw new TroupeError('not-found', `Store ${storeId} has no label "${key}": it has ${has}.`);
      }
      delete now[key];
    }
    const all = Object.entries(now).map(([key, value]) => ({ key, value }));
    await this.#scheduler.steerPlacement({ storeLabels: { storeId, labels: all } }, deadline.terms);
    return now;
  }

  /**
   * Bounds how fast a store is filled and drained.
   * @param peersPerMinute peers added to it, and removed from it, in a minute; `undefined` for the setting `store-limit`
   */
  async limitStore(
    storeId: number,
    peersPerMinute: number | undefined,
    options: AdminCallOptions = {},
  ): Promise<void> {
    checkIds(storeId);
    if (peersPerMinute !== undefined) checkCount('limit', peersPerMinute, MAX_UINT32);
    const storeLimit = { storeId, limit: peersPerMinute ?? 0, removed: peersPerMinute === undefined };
    await this.#scheduler.steerPlacement({ storeLimit }, this.#deadline(options).terms);
  }

  /** Operators that wait or run. @param options `ended`: also the newest that have ended */
  async operators(options: AdminCallOptions & { readonly ended?: boolean } = {}): Promise<OperatorInfo[]> {
    const { ended = false } = options;
    const told = await this.#scheduler.operators(ended, this.#deadline(options).terms);
    return told.map(operatorInfo);
  }

  /**
   * Asks for an operator. It is carried out step by step: `operators` tells how far it is.
   * @returns what was made of it; of a merge one for each region, of a scatter one for each region that is to move
   * @throws TroupeError `conflict` when another operator of the region is as important, or it is as asked already
   */
  async addOperator(request: OperatorRequest, options: AdminCallOptions = {}): Promise<OperatorInfo[]> {
    const told = await this.#scheduler.addOperator(operatorBody(request), this.#deadline(options).terms);
    return told.map(operatorInfo);
  }

  /** Cancels a region's operator; what it has done stays. @throws TroupeError `not-found` when it has none */
  async cancelOperator(regionId: number, options: AdminCallOptions = {}): Promise<void> {
    checkIds(regionId);
    await this.#scheduler.cancelOperator(regionId, this.#deadline(options).terms);
  }

  /** Regions that are written or read most, 1,000 at most. */
  async hotRegions(options: AdminCallOptions = {}): Promise<PlacedRegionInfo[]> {
    return this.regionsIn('hot', options);
  }

  /**
   * Regions in a state, by key, 1,000 at most.
   * @param state one of `REGION_STATES`: `missing`, `down`, `pending`, …
   * @throws TroupeError `invalid-argument` for what is no state
   */
  async regionsIn(state: string, options: AdminCallOptions = {}): Promise<PlacedRegionInfo[]> {
    return placedRegions(await this.#scheduler.findRegions(state, 0, this.#deadline(options).terms));
  }

  get #scheduler(): SchedulerClient {
    return this.#options.scheduler;
  }

  #deadline({ timeout = this.#options.timeout, signal }: AdminCallOptions): Deadline {
    return new Deadline(this.#options, timeout, signal);
  }

  async #schedulerNamed(name: string, deadline: Deadline): Promise<SchedulerInfo | undefined> {
    const { schedulers } = placementInfo(await this.#scheduler.placement(deadline.terms));
    return schedulers.find((one) => one.name === name);
  }

  async #running(name: string, deadline: Deadline): Promise<SchedulerInfo> {
    const found = await this.#schedulerNamed(name, deadline);
    if (found !== undefined) return found;
    throw new TroupeError(
      'not-found',
      `The scheduler "${name}" does not run: \`troupe scheduler list\` shows those that do.`,
    );
  }

  #put({ name, pausedUntil, limit }: SchedulerInfo, deadline: Deadline): Promise<void> {
    const scheduler = { name, removed: false, pausedUntil, limit };
    return this.#scheduler.steerPlacement({ scheduler }, deadline.terms);
  }

  async #store(storeId: number, deadline: Deadline): Promise<metapb.Store> {
    const store = await this.#scheduler.getStore(storeId, deadline.terms).catch((error: unknown) => {
      throw error instanceof TroupeError && error.code === 'not-found' ? unknownStore(storeId) : error;
    });
    if (store === undefined) throw unknownStore(storeId);
    return store;
  }

  #steerState(storeId: number, state: metapb.StoreState, deadline: Deadline): Promise<void> {
    return this.#scheduler.steerPlacement({ storeState: { storeId, state } }, deadline.terms);
  }

  async #drained(
    storeId: number,
    deadline: Deadline,
    progress: (replicas: number) => void = () => {},
  ): Promise<void> {
    let replicas: number | undefined;
    for (let look = 0; ; look++) {
      try {
        const store = await this.#store(storeId, deadline);
        if (isGone(store)) return;
        if (store.state !== metapb.StoreState.Offline) {
          throw new TroupeError('conflict', `Store ${storeId} was brought back: it is not taken offline.`);
        }
        if (look % LOOKS_A_COUNT === 0) {
          const left = await replicasOn(this.#scheduler, storeId, deadline);
          if (left !== replicas) progress(left);
          replicas = left;
        }
      } catch (error) {
        // The scheduler had no time left to answer in.
        const late = deadline.passed && error instanceof TroupeError && error.code === 'unavailable';
        if (!late) throw error;
      }
      if (deadline.passed) throw notDrained(storeId, replicas, deadline.timeout);
      await deadline.pause(LONG_PAUSES + look);
    }
  }
}

/** Begins where pauses between tries are long already: draining takes seconds at least. */
const LONG_PAUSES = 8;

function notDrained(storeId: number, replicas: number | undefined, timeout: number): TroupeError {
  const left = replicas === undefined ? 'replicas' : replicas === 1 ? '1 replica' : `${replicas} replicas`;
  return new TroupeError(
    'timeout',
    `Store ${storeId} still had ${left} when ${Math.round(timeout)} ms were over. It goes on being drained: ask again, with more time, to wait for it, or cancel it to keep the store.`,
  );
}

function checkCount(what: string, value: number, most: number): void {
  if (Number.isSafeInteger(value) && value >= 0 && value <= most) return;
  throw new TroupeError('invalid-argument', `${what} is ${value}: give a whole number from 0 to ${most}.`);
}
