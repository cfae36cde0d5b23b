import type { WriteBatch } from '../../storage/index.js';
import { troupepb } from '../proto/index.js';
import { DEFAULT_CONFIG, type PlacementConfig, withSetting } from './placement/config.js';
import {
  DEFAULT_SCHEDULERS,
  namedScheduler,
  type SchedulerEntry,
  schedulerName,
} from './placement/schedulers/index.js';

/** Where records of each kind are written: a key of the kind, and of what is recorded. */
export interface PlacementKeys {
  setting(name: string): Uint8Array;
  scheduler(name: string): Uint8Array;
  storeLimit(storeId: number): Uint8Array;
}

/** What was set of placement at run time, as the schedulers replicate it; all else is as by default. */
export class PlacementRecord {
  readonly #keys: PlacementKeys;
  readonly #settings = new Map<string, string>();
  readonly #schedulers = new Map<string, troupepb.PutScheduler>();
  readonly #storeLimits = new Map<number, number>();
  #config = DEFAULT_CONFIG;
  #entries = DEFAULT_SCHEDULERS;

  constructor(keys: PlacementKeys) {
    this.#keys = keys;
  }

  get config(): PlacementConfig {
    return this.#config;
  }

  /** Whether somebody has set this, to whatever value. */
  isSet(name: string): boolean {
    return this.#settings.has(name);
  }

  /** Those that a cluster begins with, and those that were added, without those that were removed. */
  get schedulers(): readonly SchedulerEntry[] {
    return this.#entries;
  }

  /** Peers a minute, of stores that have a limit of their own. */
  get storeLimits(): ReadonlyMap<number, number> {
    return this.#storeLimits;
  }

  clear(): void {
    for (const records of [this.#settings, this.#schedulers, this.#storeLimits]) records.clear();
    this.#config = DEFAULT_CONFIG;
    this.#entries = DEFAULT_SCHEDULERS;
  }

  /** @throws TroupeError when this program knows no such setting: it is older than the one that took it */
  putSetting(setting: troupepb.PutSetting, batch?: WriteBatch): void {
    this.#config = withSetting(this.#config, setting.name, setting.value);
    this.#settings.set(setting.name, setting.value);
    batch?.put('default', this.#keys.setting(setting.name), troupepb.PutSetting.encode(setting));
  }

  putScheduler(scheduler: troupepb.PutScheduler, batch?: WriteBatch): void {
    namedScheduler(scheduler.name);
    this.#schedulers.set(scheduler.name, scheduler);
    batch?.put('default', this.#keys.scheduler(scheduler.name), troupepb.PutScheduler.encode(scheduler));
    const known = new Map(DEFAULT_SCHEDULERS.map((entry) => [schedulerName(entry), entry]));
    for (const { name, removed, pausedUntil, limit } of this.#schedulers.values()) {
      if (removed) known.delete(name);
      else known.set(name, { ...namedScheduler(name), pausedUntil, limit });
    }
    this.#entries = [...known.values()];
  }

  putStoreLimit(storeLimit: troupepb.SetStoreLimit, batch?: WriteBatch): void {
    const { storeId, limit, removed } = storeLimit;
    const key = this.#keys.storeLimit(storeId);
    if (removed) {
      this.#storeLimits.delete(storeId);
      batch?.delete('default', key);
      return;
    }
    this.#storeLimits.set(storeId, limit);
    batch?.put('default', key, troupepb.SetStoreLimit.encode(storeLimit));
  }
}
