import type { LockLink } from '../../cluster/gc/index.js';
import type { RaftGroup } from '../../cluster/raft/group.js';
import type { SchedulerNode } from '../../cluster/scheduler/index.js';
import type { StoreNode } from '../../cluster/store/index.js';
import type { Engine } from '../../storage/index.js';
import { BLIND_LINK, collectingTooMuch, forgettingHolds } from './gc-bugs.js';
import { plantedBugs } from './planted-bugs.js';
import { keepingRemovedData, losingSplitVersions, missingPromises } from './region-bugs.js';
import { ignoringLocks, LocklessReads, skippingConflictChecks } from './txn-bugs.js';

/** Mistakes that have been made elsewhere, put around a store to show that its simulation would notice them. */
export interface StoreBug {
  /** Stands between the store and its disk. */
  readonly engine?: (engine: Engine) => Engine;
  /** Changes a Raft group of a store that has just started. */
  readonly group?: (group: RaftGroup, now: () => number) => void;
  /** Changes a store that has just started, on what `engine` has made of its disk. */
  readonly store?: (node: StoreNode, engine: Engine) => void;
  /** Changes a scheduler that has just started. */
  readonly scheduler?: (node: SchedulerNode) => void;
  /** Instead of how the collector of old versions reaches locks. */
  readonly lockLink?: () => LockLink;
  /** Shows only where old versions of transactional keys are collected. */
  readonly needsGc?: boolean;
  /** Shows only where there are transactions. */
  readonly needsTransactions?: boolean;
  /** Shows only where leaders serve reads by their lease. */
  readonly needsLeases?: boolean;
}

export type StoreBugName =
  | 'acknowledged-before-sync'
  | 'forgotten-vote'
  | 'lease-from-reply'
  | 'split-keeps-version'
  | 'part-forgets-vote'
  | 'merge-before-source'
  | 'removed-keeps-data'
  | 'conflict-unchecked'
  | 'reads-ignore-locks'
  | 'holds-forgotten'
  | 'collects-too-much'
  | 'gc-ignores-locks';

export const storeBugs: Readonly<Record<StoreBugName, StoreBug>> = {
  /** Entries and votes are acknowledged while the disk still has to make them durable. */
  'acknowledged-before-sync': plantedBugs['acknowledged-before-sync'],
  /** The vote is on disk, and is not read back at restart: two candidates of one term may each have it. */
  'forgotten-vote': plantedBugs['forgotten-vote'],
  /** A leader counts its lease from when a round of heartbeats was answered, not from when it was sent. */
  'lease-from-reply': { group: leaseFromReply, needsLeases: true },
  /** The disk keeps the parts of a split under the version that the whole had. */
  'split-keeps-version': { engine: losingSplitVersions },
  /** A peer that a split makes does not look what was promised in its place before it knew its region. */
  'part-forgets-vote': { engine: missingPromises },
  /** The target takes the source in before the source's own log is evaluated. */
  'merge-before-source': { group: takesSourceAtOnce },
  /** A tombstone is written, and the keys stay. */
  'removed-keeps-data': { engine: keepingRemovedData },
  /** A prewrite does not look whether somebody has committed its keys since the transaction began. */
  'conflict-unchecked': { store: skippingConflictChecks, needsTransactions: true },
  /** A point read takes the newest version below its timestamp, whoever has locked the key. */
  'reads-ignore-locks': {
    engine: (engine) => new LocklessReads(engine),
    store: ignoringLocks,
    needsTransactions: true,
  },
  /** The scheduler tells who holds a snapshot that it is held, and forgets it. */
  'holds-forgotten': { scheduler: forgettingHolds, needsTransactions: true, needsGc: true },
  /** A store removes versions that snapshots at and above the safe point still need. */
  'collects-too-much': { store: collectingTooMuch, needsTransactions: true, needsGc: true },
  /** The GC safe point is raised whatever is still locked by earlier transactions. */
  'gc-ignores-locks': { lockLink: () => BLIND_LINK, needsTransactions: true, needsGc: true },
};

function leaseFromReply({ lease }: RaftGroup, now: () => number): void {
  if (lease === undefined) return;
  const { confirm } = lease;
  lease.confirm = (term) => confirm.call(lease, term, now());
}

function takesSourceAtOnce(group: RaftGroup): void {
  group.awaits = () => undefined;
}
