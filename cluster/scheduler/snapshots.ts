import type { ActorSystem, Clock, Logger } from '../../actors/index.js';
import type { Engine, WriteBatch } from '../../storage/index.js';
import { saveRegionState } from '../../storage/index.js';
import { metapb, type RaftEvent, raft_serverpb } from '../../storage/proto/index.js';
import type { GroupSnapshots } from '../raft/snapshots.js';
import { RegionSnapshots } from '../store/snapshots/index.js';
import type { TaskQueue } from '../tasks.js';
import type { SchedulerState } from './state.js';

/** The id of the schedulers' own Raft group, in their own directories. */
export const SCHEDULER_GROUP = 1;

const NO_KEY = new Uint8Array(0);

/**
 * The schedulers' group as a region: all keys of their own directories, a voter on each member. A member's id, its peer
 * and its store are one number, its place in the list of names, counted from 1.
 */
export function schedulerRegion(members: number): metapb.Region {
  return {
    id: SCHEDULER_GROUP,
    startKey: NO_KEY,
    endKey: NO_KEY,
    regionEpoch: { confVer: 1, version: 1 },
    peers: Array.from({ length: members }, (_, i) => memberPeer(i + 1)),
  };
}

export function memberPeer(id: number): metapb.Peer {
  return { id, storeId: id, role: metapb.PeerRole.Voter };
}

/** What a snapshot's sender and receiver look for: the group's data is whole. */
export function saveSchedulerRegion(batch: WriteBatch, members: number, peerId: number): void {
  saveRegionState(batch, SCHEDULER_GROUP, {
    state: raft_serverpb.PeerState.Normal,
    region: schedulerRegion(members),
    peerId,
  });
}

export interface SchedulerSnapshotsParts {
  readonly system: ActorSystem;
  readonly engine: Engine;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  readonly tasks: TaskQueue;
  readonly schedulers: readonly string[];
  readonly state: SchedulerState;
  /** Steps a Raft message as if it came from the network. */
  readonly deliver: (event: RaftEvent) => void;
}

/**
 * The snapshots of the scheduler's state: made, carried and installed as those of a region are
 * (docs/decisions/snapshot-transfer.md), and then read into memory.
 */
export class SchedulerSnapshots implements GroupSnapshots {
  readonly #snapshots: RegionSnapshots;
  readonly #parts: SchedulerSnapshotsParts;

  constructor(parts: SchedulerSnapshotsParts) {
    const { schedulers, system, deliver } = parts;
    const region = schedulerRegion(schedulers.length);
    this.#parts = parts;
    this.#snapshots = new RegionSnapshots({
      ...parts,
      storeId: schedulers.indexOf(system.node) + 1,
      regionOf: (id) => (id === region.id ? region : undefined),
      overlapping: () => [],
      nodeOf: (member) => schedulers[member - 1],
      admits: ({ regionId }) => regionId === region.id,
      deliver,
    });
  }

  get counters(): RegionSnapshots['counters'] {
    return this.#snapshots.counters;
  }

  /** Brings in what a crash interrupted, then reads the state. @throws StorageCorruptionError, DecodeError */
  async load(): Promise<void> {
    await this.#snapshots.finishInstallations();
    await this.#parts.state.load(this.#parts.engine);
  }

  /** Snapshots are sent and received from now on. @throws ActorSystemError, EngineFailedError */
  start(): Promise<void> {
    return this.#snapshots.start();
  }

  close(): Promise<void> {
    return this.#snapshots.close();
  }

  prepare: GroupSnapshots['prepare'] = (group, peer) => this.#snapshots.prepare(group, peer);

  send: GroupSnapshots['send'] = (group, message) => this.#snapshots.send(group, message);

  installing: GroupSnapshots['installing'] = (group, snapshot, batch) =>
    this.#snapshots.installing(group, snapshot, batch);

  install: GroupSnapshots['install'] = async (group, snapshot) => {
    await this.#snapshots.install(group, snapshot);
    // The host hands over no entry behind the snapshot before this is done.
    await this.#parts.state.load(this.#parts.engine);
  };
}
