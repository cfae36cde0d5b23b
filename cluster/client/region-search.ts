import { compareBytes } from '../../storage/keys.js';
import type { metapb } from '../../storage/proto/index.js';
import type { SchedulerClient } from '../pd-client.js';
import type { Deadline } from './deadline.js';
import { epochOf } from './region-info.js';
import type { KnownRegion } from './region-leader.js';

/** Which region: by its id, or the one that holds a stored key. */
export type RegionRef = { readonly id: number } | { readonly key: Uint8Array };

/** Finds one region, newest first: as the scheduler knows it, or as a store has told since. */
export class RegionSearch {
  readonly #scheduler: Pick<SchedulerClient, 'getAllStores' | 'getRegion' | 'getRegionById'>;
  readonly #ref: RegionRef;
  readonly #deadline: Deadline;
  #told: metapb.Region | undefined;
  #stores: readonly metapb.Store[] = [];

  constructor(
    scheduler: Pick<SchedulerClient, 'getAllStores' | 'getRegion' | 'getRegionById'>,
    ref: RegionRef,
    deadline: Deadline,
  ) {
    this.#scheduler = scheduler;
    this.#ref = ref;
    this.#deadline = deadline;
  }

  /** As of the last look. */
  get stores(): readonly metapb.Store[] {
    return this.#stores;
  }

  /** The region as it is now; `undefined` when the scheduler knows none. @throws TroupeError `unavailable`, `closed` */
  async find(): Promise<KnownRegion | undefined> {
    this.#stores = await this.#scheduler.getAllStores(this.#deadline.terms);
    const { region, leader } = await lookUp(this.#scheduler, this.#ref, this.#deadline);
    if (region === undefined) return undefined;
    const told = this.#told;
    return told !== undefined && newer(told, region) ? { region: told, leader } : { region, leader };
  }

  /** Takes what a store says of its regions. @returns the one that was looked for, when it is among them */
  learn(regions: readonly metapb.Region[]): metapb.Region | undefined {
    const found = regions.find((region) => isMeant(this.#ref, region));
    if (found !== undefined && (this.#told === undefined || newer(found, this.#told))) this.#told = found;
    return found;
  }
}

/** What the scheduler knows. */
export async function lookUp(
  scheduler: Pick<SchedulerClient, 'getRegion' | 'getRegionById'>,
  ref: RegionRef,
  { terms }: Deadline,
): ReturnType<SchedulerClient['getRegion']> {
  return 'id' in ref ? scheduler.getRegionById(ref.id, terms) : scheduler.getRegion(ref.key, terms);
}

/** Whether the region has this stored key. */
export function holds({ startKey, endKey }: metapb.Region, key: Uint8Array): boolean {
  return compareBytes(startKey, key) <= 0 && (endKey.length === 0 || compareBytes(key, endKey) < 0);
}

function isMeant(ref: RegionRef, region: metapb.Region): boolean {
  return 'id' in ref ? region.id === ref.id : holds(region, ref.key);
}

/** Of two regions that claim a key, the one that split or merged last is right; then the one that changed its peers last. */
function newer(a: metapb.Region, b: metapb.Region): boolean {
  const [x, y] = [epochOf(a), epochOf(b)];
  return x.version > y.version || (x.version === y.version && x.confVer > y.confVer);
}
