/** The names, units and meanings of what a node measures, by Prometheus's conventions: base units, counters end in `_total`. */
import type { ActorSystem, Metrics } from '../../actors/index.js';
import type { Engine, EngineStatistics } from '../../storage/index.js';

type Labels = Readonly<Record<string, string>>;
export type Reading = readonly (readonly [value: number, labels: Labels])[];

export interface Measure {
  readonly type: 'counter' | 'gauge';
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly string[];
  readonly read: () => Reading | Promise<Reading>;
}

/**
 * What is kept as a number under a name: metric without its prefix, sentence, what a unit of it is in base units, and whether 0 stands
 * for "none yet". Of that there is no sample: a date of 1970 would set off every alert on its age.
 */
type Row = readonly [metric: string, help: string, unit?: number, zeroIsNone?: 'zero-is-none'];
const MILLISECONDS = 0.001;

const ACTORS: Readonly<Partial<Record<keyof Metrics, Row>>> = {
  turns: ['turns_total', 'Turns of the run queue.'],
  slowTurns: [
    'slow_turns_total',
    'Turns that took longer than twice their budget: something blocked the loop.',
  ],
  longestTurn: ['longest_turn_seconds', 'The longest turn since the start.', MILLISECONDS],
  messages: ['messages_handled_total', 'Messages that actors have handled.'],
  tells: ['tells_total', 'Messages sent without waiting for an answer.'],
  asks: ['asks_total', 'Messages sent that wait for an answer.'],
  askFailures: ['ask_failures_total', 'Asks that got no answer.'],
  actorsSpawned: ['actors_spawned_total', 'Actors started.'],
  actorsStopped: ['actors_stopped_total', 'Actors that have ended.'],
  failures: ['actor_failures_total', 'Times that an actor threw.'],
  restarts: ['actor_restarts_total', 'Actors started again after a failure.'],
  framesSent: [
    'frames_sent_total',
    'NATS messages sent to other nodes, each with what a turn had for one of them.',
  ],
  envelopesSent: ['envelopes_sent_total', 'Messages in these frames.'],
  bytesSent: ['sent_bytes_total', 'Bytes of these frames.'],
  framesReceived: ['frames_received_total', 'NATS messages received from other nodes.'],
  envelopesReceived: ['envelopes_received_total', 'Messages in these frames.'],
  bytesReceived: ['received_bytes_total', 'Bytes of these frames.'],
  framesDropped: ['frames_dropped_total', 'Frames lost because there was no connection.'],
  framesRefused: ['frames_refused_total', 'Received frames that were malformed or forged.'],
  framesStale: ['frames_stale_total', 'Received frames of an earlier life of their sender.'],
  disconnects: ['nats_disconnects_total', 'Times that the connection to the NATS server was lost.'],
  reconnects: ['nats_reconnects_total', 'Times that it came back.'],
};

const RAFT: Readonly<Record<string, Row>> = {
  batches: ['raft_batches_total', 'Batches written, each with all that a turn brought.'],
  syncs: ['raft_syncs_total', 'Syncs of the write-ahead log.'],
  entries: ['raft_entries_written_total', 'Entries written to Raft logs.'],
  applied: ['raft_entries_applied_total', 'Committed entries carried out.'],
  snapshots: ['raft_snapshots_written_total', 'Snapshots written as the beginning of a log.'],
  logsCut: ['raft_logs_cut_total', 'Times that the beginning of a Raft log was dropped.'],
  snapshotsSent: ['snapshots_sent_total', 'Snapshots that another member has taken.'],
  snapshotsInstalled: ['snapshots_installed_total', 'Snapshots that have replaced a replica here.'],
};

const TRACES: Readonly<Record<string, Row>> = {
  openSpans: ['trace_spans_open', 'Spans of traced requests, entries and events that have not ended.'],
  droppedSpans: ['trace_spans_dropped_total', 'Spans that were not begun because too many were open.'],
};

/** A scheduler decides them, a store obeys them. */
const SAFE_POINTS: Readonly<Record<string, Row>> = {
  txnSafePoint: [
    'txn_safe_point_seconds',
    'Unix time before which no snapshot is served.',
    MILLISECONDS,
    'zero-is-none',
  ],
  gcSafePoint: [
    'gc_safe_point_seconds',
    'Unix time before which old versions are removed.',
    MILLISECONDS,
    'zero-is-none',
  ],
};

const STORE: Readonly<Record<string, Row>> = {
  ...RAFT,
  ...TRACES,
  peers: ['store_peers', 'Replicas of regions on this store.'],
  leaders: ['store_leaders', 'Regions that this store leads.'],
  awake: ['store_awake_peers', 'Replicas that do not rest.'],
  chunksSent: ['snapshot_chunks_sent_total', 'Chunks of snapshots sent.'],
  chunksResent: ['snapshot_chunks_resent_total', 'Chunks of snapshots sent once more.'],
  snapshotsSending: ['store_snapshots_sending', 'Snapshots on their way to other stores.'],
  snapshotsReceiving: ['store_snapshots_receiving', 'Snapshots on their way here.'],
  refusedAsBusy: ['store_busy_refusals_total', 'Requests refused because too much was under way.'],
  keysRead: ['store_read_keys_total', 'Keys that callers got from regions led here.'],
  bytesRead: ['store_read_bytes_total', 'Bytes of these keys and their values.'],
  keysWritten: ['store_written_keys_total', 'Keys written to regions led here.'],
  bytesWritten: ['store_written_bytes_total', 'Bytes of these keys and their values.'],
  txnCommands: ['txn_commands', 'Commands of transactions under way.'],
  txnMemoryLocks: ['txn_memory_locks', 'Keys locked in memory while a commit is on its way to the disk.'],
  ...SAFE_POINTS,
};

const SCHEDULER: Readonly<Record<string, Row>> = {
  ...RAFT,
  leads: ['scheduler_leads', '1 on the scheduler that leads, else 0.'],
  stores: ['scheduler_stores', 'Stores that are registered and not gone.'],
  regions: ['scheduler_regions', 'Regions of the cluster.'],
  operators: ['scheduler_operators', 'Changes of regions under way.'],
  ...SAFE_POINTS,
};

const HOST: Readonly<Record<string, Row>> = {
  ...TRACES,
  deployments: ['host_deployments', 'Names that are served here.'],
  actorsInMemory: ['host_deployed_actors', 'Deployed actors in memory, instances included.'],
  eventsApplied: ['host_events_applied_total', 'Events that deployed actors have applied.'],
  eventsRepeated: ['host_events_repeated_total', 'Events that had been applied before, known by their ids.'],
  effectsLeft: ['host_effects_total', 'Effects that have left.'],
  effectsPending: ['host_effects_pending', 'Effects that are durable and have not left yet.'],
  batches: ['host_batches_total', 'Batches that were made durable: one for all that a turn brought.'],
};

const ROLES = { store: STORE, scheduler: SCHEDULER, host: HOST } as const;

const DISK: Readonly<Record<keyof EngineStatistics, Row>> = {
  memtableBytes: ['memtable_bytes', 'Bytes in memory that are in no table yet.'],
  tableBytes: ['table_bytes', 'Bytes of the tables in use.'],
  pendingCompactionBytes: ['pending_compaction_bytes', 'Bytes that compactions have yet to rewrite.'],
  runningCompactions: ['running_compactions', 'Compactions under way.'],
  runningFlushes: ['running_flushes', 'Flushes of memory to tables under way.'],
  writesStopped: ['writes_stopped', '1 while writes wait for compactions, else 0.'],
};

export function measuresOfActors(system: ActorSystem): Measure[] {
  const measures = Object.entries(ACTORS).map(([name, row]) =>
    measureOf(row, () => system.metrics[name as keyof Metrics]),
  );
  measures.push(
    {
      type: 'counter',
      name: 'troupe_dead_letters_total',
      help: 'Messages that reached nobody.',
      labels: ['reason'],
      read: () => Object.entries(system.deadLetters.counts).map(([reason, count]) => [count, { reason }]),
    },
    measureOf(['actors', 'Actors of this node.'], () => system.actorCount),
    measureOf(['mailbox_messages', 'Messages that wait for their actors.'], () =>
      system.actors().reduce((sum, { queued }) => sum + queued, 0),
    ),
  );
  return measures;
}

export function measuresOfDisk(engine: Engine): Measure[] {
  // One look for all of a scrape's.
  let look: Promise<EngineStatistics | undefined> | undefined;
  const statistics = (): Promise<EngineStatistics | undefined> => {
    look ??= engine
      .statistics()
      .catch(() => undefined)
      .finally(() => {
        look = undefined;
      });
    return look;
  };
  return Object.entries(DISK).map(([name, [metric, help]]) => ({
    type: 'gauge' as const,
    name: `troupe_rocksdb_${metric}`,
    help,
    read: async () => {
      const value = (await statistics())?.[name as keyof EngineStatistics];
      return value === undefined ? [] : [[Number(value), {}]];
    },
  }));
}

/** What a role's node counts; a name that the node does not say is left out. */
export function measuresOfRole(
  role: keyof typeof ROLES,
  numbers: () => Readonly<Record<string, number>>,
): Measure[] {
  // One look for all of a scrape's, which are read in one go: to count leaders is to go over all regions.
  let look: Readonly<Record<string, number>> | undefined;
  const once = (): Readonly<Record<string, number>> => {
    if (look === undefined) {
      look = numbers();
      queueMicrotask(() => {
        look = undefined;
      });
    }
    return look;
  };
  return Object.entries(ROLES[role]).map(([name, row]) => measureOf(row, () => once()[name]));
}

function measureOf([metric, help, unit = 1, zeroIsNone]: Row, value: () => number | undefined): Measure {
  return {
    type: metric.endsWith('_total') ? 'counter' : 'gauge',
    name: `troupe_${metric}`,
    help,
    read: () => {
      const now = value();
      return now === undefined || (now === 0 && zeroIsNone !== undefined) ? [] : [[now * unit, {}]];
    },
  };
}
