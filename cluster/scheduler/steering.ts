import { metapb } from '../../storage/proto/index.js';
import { TroupeError } from '../errors.js';
import { pdpb, type troupepb } from '../proto/index.js';
import type { ProtocolEvent } from '../protocol.js';
import { SchedulerFault } from './fault.js';
import { isLabel, printedSettings, withSetting } from './placement/config.js';
import type { Placement } from './placement/index.js';
import { labelOf } from './placement/isolation.js';
import { namedScheduler, schedulerName } from './placement/schedulers/index.js';
import type { Command, CommandResult, SchedulerState } from './state.js';

const { ErrorType } = pdpb;
/** Schedulers of one store of which one would undo what the other does. */
const OPPOSITES: Readonly<Partial<Record<string, string>>> = {
  'evict-leader': 'grant-leader',
  'grant-leader': 'evict-leader',
};
const MAX_LABELS = 32;
const MAX_SCHEDULERS = 1_000;
const MAX_STORE_LIMIT = 1_000_000;

export interface SteeringOptions {
  readonly state: SchedulerState;
  readonly placement: Placement;
  readonly propose: (command: Command) => Promise<CommandResult>;
  /** A store's record was changed. */
  readonly storeDecided: (store: metapb.Store) => void;
}

type Steer = ProtocolEvent<'pd.steerPlacement'>;

/** How people steer placement: settings, schedulers and stores, checked here before they are replicated. */
export class Steering {
  readonly #options: SteeringOptions;

  constructor(options: SteeringOptions) {
    this.#options = options;
  }

  /** What is set, and what placement does. */
  get(): Omit<troupepb.GetPlacementResponse, 'header'> {
    const { state, placement } = this.#options;
    const { config, coordinator } = placement;
    return {
      settings: printedSettings(config).map(([name, value]) => ({ name, value })),
      schedulers: state.placement.schedulers.map((entry) => ({
        name: schedulerName(entry),
        removed: false,
        pausedUntil: entry.pausedUntil,
        limit: entry.limit,
      })),
      state: placement.isHalted ? 'halted' : coordinator.isCollecting ? 'collecting' : 'scheduling',
      storeLimits: [...state.placement.storeLimits].map(([storeId, limit]) => ({
        storeId,
        limit,
        removed: false,
      })),
    };
  }

  /** @throws SchedulerFault when it is wrong, or cannot be */
  async steer(request: Steer): Promise<void> {
    const { propose, placement, storeDecided } = this.#options;
    const result = await propose(this.#checked(request));
    if (!result.ok) throw SchedulerFault.of(result.refusal);
    placement.configure();
    if (result.store !== undefined) storeDecided(result.store);
  }

  #checked({ setting, scheduler, storeState, storeLabels, storeLimit }: Steer): Command {
    if (setting !== undefined) {
      this.#valid(() => withSetting(this.#options.state.placement.config, setting.name, setting.value));
      return { putSetting: setting };
    }
    if (scheduler !== undefined) return { putScheduler: this.#scheduler(scheduler) };
    if (storeState !== undefined) return { setStoreState: this.#storeState(storeState) };
    if (storeLabels !== undefined) return { setStoreLabels: this.#labels(storeLabels) };
    if (storeLimit !== undefined) {
      this.#store(storeLimit.storeId);
      if (storeLimit.limit > MAX_STORE_LIMIT)
        throw invalid(`A store's limit is at most ${MAX_STORE_LIMIT} peers a minute.`);
      return { setStoreLimit: storeLimit };
    }
    throw invalid('Nothing is to be changed: name a setting, a scheduler or a store.');
  }

  #scheduler(asked: troupepb.PutScheduler): troupepb.PutScheduler {
    const entry = this.#valid(() => namedScheduler(asked.name));
    if (entry.store !== 0) this.#store(entry.store);
    const { schedulers } = this.#options.state.placement;
    const known = schedulers.some((one) => schedulerName(one) === asked.name);
    if (!known && (asked.removed || asked.pausedUntil > 0)) {
      throw new SchedulerFault(
        ErrorType.ENTRY_NOT_FOUND,
        `The scheduler "${asked.name}" does not run: \`troupe scheduler list\` shows those that do.`,
      );
    }
    const opposite = schedulers.find(
      ({ kind, store }) => OPPOSITES[kind] === entry.kind && store === entry.store && !asked.removed,
    );
    if (opposite !== undefined)
      throw conflict(
        `The scheduler "${schedulerName(opposite)}" would undo what "${asked.name}" does: remove it first.`,
      );
    if (schedulers.length >= MAX_SCHEDULERS && !known)
      throw invalid(`There are ${MAX_SCHEDULERS} schedulers already, which is the most.`);
    return asked;
  }

  #storeState({ storeId, state }: troupepb.SetStoreState): troupepb.SetStoreState {
    const store = this.#store(storeId);
    if (state === metapb.StoreState.Up && store.state !== metapb.StoreState.Offline)
      throw conflict(`Store ${storeId} is not being taken offline.`);
    if (![metapb.StoreState.Up, metapb.StoreState.Offline, metapb.StoreState.Tombstone].includes(state))
      throw invalid(`A store is brought up or taken offline; ${state} is neither.`);
    if (state === metapb.StoreState.Tombstone)
      throw invalid(`Store ${storeId} is gone for good when it has been drained: take it offline.`);
    if (state === metapb.StoreState.Offline) this.#refuseLast(store);
    return { storeId, state };
  }

  /** The replicas have to fit on the stores that stay. */
  #refuseLast(store: metapb.Store): void {
    const { state, placement } = this.#options;
    const { config } = placement;
    const staying = [...state.stores.values()].filter(
      (one) => one.id !== store.id && one.state === metapb.StoreState.Up,
    );
    const needed = Math.max(config.maxReplicas, ...config.rules.map(({ count }) => count));
    const level = config.isolationLevel;
    const labels = config.locationLabels.slice(0, config.locationLabels.indexOf(level) + 1);
    const places = level === '' ? staying.length : new Set(staying.map((one) => placeOf(one, labels))).size;
    if (places >= needed) return;
    const where = level === '' ? 'stores' : `different values of "${level}"`;
    throw conflict(
      `Store ${store.id} cannot be taken offline: ${places} ${where} would be left for ${needed} replicas. Add a store first, or lower max-replicas.`,
    );
  }

  #labels({ storeId, labels }: troupepb.SetStoreLabels): troupepb.SetStoreLabels {
    this.#store(storeId);
    if (labels.length > MAX_LABELS) throw invalid(`A store has at most ${MAX_LABELS} labels.`);
    for (const { key, value } of labels) {
      if (!isLabel(key) || !isLabel(value)) {
        throw invalid(
          `"${key}=${value}" is no label: key and value have letters, digits, -, _ and ., at most 63 each.`,
        );
      }
    }
    if (new Set(labels.map(({ key }) => key)).size < labels.length)
      throw invalid('Two labels have the same key: name each once.');
    return { storeId, labels };
  }

  #store(id: number): metapb.Store {
    const store = this.#options.state.stores.get(id);
    if (store === undefined || store.state === metapb.StoreState.Tombstone) {
      const what = store === undefined ? `There is no store ${id}` : `Store ${id} is gone for good`;
      throw new SchedulerFault(
        ErrorType.ENTRY_NOT_FOUND,
        `${what}: \`troupe store list\` shows those that there are.`,
      );
    }
    return store;
  }

  #valid<T>(check: () => T): T {
    try {
      return check();
    } catch (error) {
      if (error instanceof TroupeError) throw invalid(error.message);
      throw error;
    }
  }
}

/** Where a store is down to the isolation level; one that does not say so is somewhere else than all others. */
function placeOf(store: metapb.Store, labels: readonly string[]): string {
  const values = labels.map((label) => labelOf(store, label));
  return values.includes('') ? `store ${store.id}` : values.join('/');
}

function invalid(message: string): SchedulerFault {
  return new SchedulerFault(ErrorType.INVALID_VALUE, message);
}

function conflict(message: string): SchedulerFault {
  return new SchedulerFault(ErrorType.DUPLICATED_ENTRY, message);
}
