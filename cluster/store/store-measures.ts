import type { RaftHost } from '../raft/host.js';
import { physicalOf } from '../timestamp.js';
import type { StoreTracing } from '../tracing/store-tracing.js';
import type { FlowCount } from './region-flow.js';
import type { RegionReplica } from './replica.js';
import type { RegionSnapshots } from './snapshots/index.js';
import type { StoreTxn } from './txn/index.js';

export interface StoreMeasuresParts {
  readonly host: RaftHost;
  readonly replicas: ReadonlyMap<number, RegionReplica>;
  readonly snapshots: RegionSnapshots;
  /** Of all regions that are led here. */
  readonly flow: FlowCount;
  readonly txn: StoreTxn;
  readonly tracing: StoreTracing | undefined;
  /** Calls that were refused because too much was under way. */
  readonly refusedAsBusy: () => number;
}

/** What a store has written, and what came and went as snapshots. */
export function storeCounters({ host, replicas, snapshots }: StoreMeasuresParts) {
  const { installed, chunksSent, chunksResent } = snapshots.counters;
  const { counters, awake } = host;
  const regions = { peers: replicas.size, leaders: leadersOf(replicas) };
  return { ...counters, ...regions, awake, snapshotsInstalled: installed, chunksSent, chunksResent };
}

/** What a store counts and what it has at this moment, for those who watch it. Safe points in Unix milliseconds. */
export function storeMeasures(parts: StoreMeasuresParts) {
  const { snapshots, flow, txn, tracing } = parts;
  const { bytesRead, keysRead, bytesWritten, keysWritten } = flow;
  const { sending, receiving } = snapshots.traffic;
  const { transaction, gc } = txn.safePoints;
  return {
    ...storeCounters(parts),
    snapshotsSent: snapshots.counters.sent,
    ...{ bytesRead, keysRead, bytesWritten, keysWritten, refusedAsBusy: parts.refusedAsBusy() },
    ...{ snapshotsSending: sending, snapshotsReceiving: receiving },
    ...{ openSpans: tracing?.openSpans ?? 0, droppedSpans: tracing?.droppedSpans ?? 0 },
    ...{ txnCommands: txn.writes.size, txnMemoryLocks: txn.memoryLocks.size },
    ...{ txnSafePoint: physicalOf(transaction), gcSafePoint: physicalOf(gc) },
  };
}

function leadersOf(replicas: ReadonlyMap<number, RegionReplica>): number {
  let leaders = 0;
  for (const { attached, raftGroup } of replicas.values()) if (attached && raftGroup?.isLeader) leaders++;
  return leaders;
}
