import type { Clock } from '../../actors/index.js';
import type { metapb } from '../../storage/proto/index.js';
import { TroupeError } from '../errors.js';
import type { pdpb } from '../proto/index.js';
import type { Call } from './call.js';
import { type CachedRegion, RegionCache } from './region-cache.js';

/** Where regions and stores are looked up: the scheduler. */
export interface RegionSource {
  /** Regions in order, from the one that holds `startKey` (a stored key) on. */
  scanRegions(startKey: Uint8Array, limit: number, timeout: number): Promise<readonly pdpb.Region[]>;
  getAllStores(timeout: number): Promise<readonly metapb.Store[]>;
}

/** A store as the client knows it. */
export class StoreLink {
  /** Until then (client's clock) it is not tried when another peer may serve. */
  suspectUntil = 0;
  /** Ends the watch over its node, while there is one. */
  unwatch: (() => void) | undefined;

  constructor(
    readonly id: number,
    readonly node: string,
  ) {}
}

export interface RegionFinderOptions {
  readonly source: RegionSource;
  /** First byte of the stored keys of all calls. */
  readonly space: number;
  readonly clock: Clock;
  /** A region was forgotten: its calls must find another way. */
  readonly forgotten: (region: CachedRegion) => void;
  /** The regions of these calls are known now. */
  readonly found: (calls: readonly Call[]) => void;
  /** The regions of these calls could not be found out. */
  readonly lost: (calls: readonly Call[], trouble: TroupeError) => void;
}

/** Regions learned by one look-up. */
const LOOKUP_REGIONS = 128;
const LOOKUP_TIMEOUT_MS = 3_000;

/** What the client knows of regions and stores, and how it learns more: from errors, and from the scheduler. */
export class RegionFinder {
  readonly #options: RegionFinderOptions;
  readonly #cache: RegionCache;
  readonly #stores = new Map<number, StoreLink>();
  /** Calls whose region is not known. */
  #waiting: Call[] = [];
  #lookingUp = false;
  #closed = false;

  constructor(options: RegionFinderOptions) {
    this.#options = options;
    this.#cache = new RegionCache(options.forgotten);
  }

  /** The region of a call, as far as known. */
  locate(call: Call): CachedRegion | undefined {
    return this.#cache.locate(this.#options.space, call.key);
  }

  /** Looks the call's region up. One look-up is under way at a time, and brings the neighbours along. */
  lookUp(call: Call): void {
    this.#waiting.push(call);
    this.#next();
  }

  store(id: number): StoreLink | undefined {
    return this.#stores.get(id);
  }

  forgetStore(id: number): void {
    this.#stores.get(id)?.unwatch?.();
    this.#stores.delete(id);
  }

  forget(region: CachedRegion): void {
    this.#cache.remove(region);
  }

  /** Whether a store may be tried: its node is known, and it does not keep others waiting. */
  readonly usable = (storeId: number): boolean => {
    const store = this.#stores.get(storeId);
    return store !== undefined && store.suspectUntil <= this.#options.clock.now();
  };

  /** Takes the regions that a store of `region` says are there now. */
  learn(region: CachedRegion, current: readonly metapb.Region[], storeId: number): void {
    if (current.length === 0 || !current.every(this.#familiar)) {
      this.#cache.remove(region);
      return;
    }
    for (const one of current) {
      this.#cache.insert(
        one,
        one.peers.find((peer) => peer.storeId === storeId),
      );
    }
  }

  close(): void {
    this.#closed = true;
    for (const store of this.#stores.values()) store.unwatch?.();
    this.#waiting = [];
    this.#cache.clear();
  }

  /** Whether the nodes of all its peers are known. */
  readonly #familiar = (region: metapb.Region): boolean =>
    region.peers.length > 0 && region.peers.every((peer) => this.#stores.has(peer.storeId));

  #next(): void {
    if (this.#lookingUp || this.#closed) return;
    const first = this.#waiting.find((call) => !call.settled);
    if (first === undefined) {
      this.#waiting = [];
      return;
    }
    this.#lookingUp = true;
    this.#fetch(first).then(
      () => this.#fetched(first),
      (error: unknown) => this.#done(lookupError(error)),
    );
  }

  #fetched(first: Call): void {
    const missing = this.locate(first) === undefined;
    this.#done(
      missing ? new TroupeError('unavailable', 'The scheduler knows no region for the key yet.') : undefined,
    );
  }

  async #fetch(call: Call): Promise<void> {
    const { source, space } = this.#options;
    const stored = Buffer.concat([Uint8Array.of(space), call.key]);
    const regions = await source.scanRegions(stored, LOOKUP_REGIONS, LOOKUP_TIMEOUT_MS);
    if (regions.some(({ region }) => region !== undefined && !this.#familiar(region))) {
      for (const { id, address } of await source.getAllStores(LOOKUP_TIMEOUT_MS)) {
        if (this.#stores.get(id)?.node === address) continue;
        this.forgetStore(id);
        this.#stores.set(id, new StoreLink(id, address));
      }
    }
    if (this.#closed) return;
    for (const { region, leader } of regions) {
      if (region !== undefined && this.#familiar(region)) this.#cache.insert(region, leader);
    }
  }

  /** @param trouble why the calls without a region must wait; when absent, theirs are looked up next */
  #done(trouble: TroupeError | undefined): void {
    this.#lookingUp = false;
    if (this.#closed) return;
    const found: Call[] = [];
    const lost: Call[] = [];
    for (const call of this.#waiting) {
      if (!call.settled) (this.locate(call) === undefined ? lost : found).push(call);
    }
    this.#waiting = [];
    this.#options.found(found);
    if (trouble !== undefined) this.#options.lost(lost, trouble);
    else for (const call of lost) this.lookUp(call);
  }
}

function lookupError(error: unknown): TroupeError {
  if (error instanceof TroupeError) return error;
  return new TroupeError('unavailable', `The key's region could not be looked up: ${String(error)}.`, {
    cause: error,
  });
}
