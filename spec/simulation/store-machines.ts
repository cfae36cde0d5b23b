import type { Random } from '../../actors/index.js';
import { INITIAL_LOG } from '../../cluster/raft/initial-log.js';
import { type SchedulerNode, startScheduler } from '../../cluster/scheduler/index.js';
import { type StoreNode, startStore } from '../../cluster/store/index.js';
import type { StoreTuning } from '../../cluster/store/tuning.js';
import type { GcTaste, SafePointsSeen } from './gc-taste.js';
import { observeScheduler, schedulerRegions } from './scheduler-record.js';
import { type MachineParts, type Server, SimulatedMachine } from './simulated-machine.js';
import type { StoreBug } from './store-bugs.js';
import type { StoreMachine } from './store-groups.js';
import type { StoreInvariants } from './store-invariants.js';
import { StoreRecord } from './store-record.js';

/** What the machines of one simulation share, and what is drawn for each. */
export interface ServerParts {
  readonly cluster: string;
  /** The scheduler's name. */
  readonly scheduler: string;
  readonly machine: Omit<MachineParts<Server>, 'name' | 'boot' | 'found' | 'before'>;
  /** The process's own. */
  readonly random: Random;
  /** There once the machines are. */
  readonly invariants: () => StoreInvariants;
}

export interface StoreParts extends ServerParts {
  readonly name: string;
  readonly tuning: StoreTuning;
  readonly bug: StoreBug;
  readonly counts: { snapshots: number; truncations: number; restarts: number; versionsRemoved: number };
}

/** A machine that runs a store, and the record of what its disk was given. */
export function makeStore(parts: StoreParts): {
  readonly store: StoreMachine;
  readonly record: StoreRecord;
} {
  const { cluster, scheduler, machine, name, random, tuning, bug, invariants, counts } = parts;
  const record: StoreRecord = new StoreRecord({
    writes: (change, before) => {
      invariants().writes(name, change, before);
      if (change.kind !== 'applyState') return;
      const group = before.groups.get(change.group);
      const { index } = change.truncated;
      if (index <= Math.max(group?.truncated.index ?? 0, INITIAL_LOG.index)) return;
      if (group?.terms.has(index)) counts.truncations++;
      else counts.snapshots++;
    },
    durable: () => {},
  });
  const store: StoreMachine = new SimulatedMachine<StoreNode>({
    ...machine,
    name,
    found: async (engine) => {
      const { durable } = record;
      await record.reset(engine);
      invariants().found(store.title, name, record.stored, durable);
      invariants().checkDurability();
      await invariants().compare(store.title, engine, record.stored);
      counts.restarts++;
    },
    before: (engine) => bug.engine?.(record.observe(engine)) ?? record.observe(engine),
    boot: async (process) => {
      const node = await startStore({ ...process, cluster, name, random, schedulers: [scheduler], tuning });
      bug.store?.(node, process.engine);
      countRemoved(node, counts);
      return node;
    },
  });
  return { store, record };
}

/** Counts what the collector of old versions asks for, in records. */
function countRemoved({ txn: { writes } }: StoreNode, counts: StoreParts['counts']): void {
  const remove = writes.remove.bind(writes);
  writes.remove = (owner, place, changes, ...rest) => {
    counts.versionsRemoved += changes.length;
    remove(owner, place, changes, ...rest);
  };
}

export interface SchedulerMachineParts extends ServerParts {
  readonly expectedStores: number;
  readonly bug: StoreBug;
  readonly gc: GcTaste | undefined;
  readonly safePoints: SafePointsSeen;
}

/** The machine that runs the scheduler. */
export function makeScheduler(parts: SchedulerMachineParts): SimulatedMachine<SchedulerNode> {
  const {
    cluster,
    scheduler: name,
    machine,
    random,
    invariants,
    expectedStores,
    bug,
    gc,
    safePoints,
  } = parts;
  const { lockLink } = bug;
  return new SimulatedMachine<SchedulerNode>({
    ...machine,
    name,
    found: async (engine) => invariants().regions.schedulerFound(await schedulerRegions(engine)),
    before: (engine) =>
      observeScheduler(engine, {
        wrote: (region) => invariants().regions.schedulerWrites(region),
        removed: (id) => invariants().regions.schedulerRemoves(id),
      }),
    boot: async (process) => {
      const node = await startScheduler({
        ...process,
        // It goes on while the process does not run.
        wallClock: () => machine.world.now() * machine.rate,
        cluster,
        name,
        random,
        expectedStores,
        haltScheduling: true,
        ...(gc === undefined ? {} : { tuning: { gc, safePointWait: gc.safePointWait } }),
        ...(lockLink === undefined ? {} : { lockLink }),
      });
      bug.scheduler?.(node);
      safePoints.follow(node.safePoints);
      return node;
    },
  });
}
