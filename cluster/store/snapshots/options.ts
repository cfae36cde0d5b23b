import type { ActorSystem, Clock, Logger } from '../../../actors/index.js';
import type { SnapshotReceiverWait, SnapshotSenderWait } from '../../../machines/index.js';
import { type Engine, SNAPSHOT_CHUNK_BYTES } from '../../../storage/index.js';
import type { metapb } from '../../../storage/proto/index.js';
import type { RaftEvent } from '../../protocol.js';
import type { TaskQueue } from '../../tasks.js';

export interface SnapshotLimits {
  /** Snapshots taken, sent or waiting to be sent at a time: each holds a view of the engine (2). */
  readonly sends: number;
  /** Snapshots received at a time (2). */
  readonly receives: number;
  /** Chunks of 64 KiB that may be under way to this store in one transfer (16). */
  readonly creditChunks: number;
  /** Bytes of the largest snapshot that this store takes (64 GiB). */
  readonly receiveBytes: number;
  /** Snapshots that are here whole and wait to be installed, or are being installed (8). */
  readonly verified: number;
}

export const DEFAULT_SNAPSHOT_LIMITS: SnapshotLimits = {
  sends: 2,
  receives: 2,
  creditChunks: 16,
  receiveBytes: 64 * 2 ** 30,
  verified: 8,
};

/** Milliseconds. */
export interface SnapshotTiming {
  readonly sender: Readonly<Record<SnapshotSenderWait, number>>;
  readonly receiver: Readonly<Record<SnapshotReceiverWait, number>>;
  /** After which a snapshot that was taken and not sent is given back. */
  readonly prepared: number;
  /** After which a transfer is given up, however well it goes: it keeps the engine from cleaning up. */
  readonly transfer: number;
  /** After which a whole snapshot that nobody installed is removed. */
  readonly verified: number;
  /** After which a part of a snapshot that was found at the start, and was not gone on with, is removed. */
  readonly leftover: number;
}

export const SNAPSHOT_TIMING: SnapshotTiming = {
  sender: { answer: 3_000, place: 1_000, credit: 2_000, connection: 1_000, verification: 10_000 },
  receiver: { sender: 10_000, return: 300_000, tail: 500, repeat: 1_000 },
  prepared: 10_000,
  transfer: 3_600_000,
  verified: 120_000,
  leftover: 600_000,
};

/** Snapshots of a store that are under way. */
export interface SnapshotTraffic {
  readonly sending: number;
  readonly receiving: number;
  /** Here whole, and being brought in. */
  readonly applying: number;
}

/** Times in a row that a sender goes on though nothing came of the last time. */
export const SENDER_PATIENCE = 12;

export interface RegionSnapshotsOptions {
  readonly system: ActorSystem;
  readonly engine: Engine;
  readonly clock: Clock;
  readonly random: () => number;
  readonly logger: Logger;
  readonly storeId: number;
  readonly tasks: TaskQueue;
  readonly limits?: Partial<SnapshotLimits>;
  /** The region as this store has it now; `undefined` when it has none, or a peer that knows nothing of it yet. */
  regionOf(groupId: number): metapb.Region | undefined;
  /** Regions of this store whose range overlaps. */
  overlapping(region: metapb.Region): readonly metapb.Region[];
  /** Name of the store's node, as far as it is known. */
  nodeOf(storeId: number): string | undefined;
  /** Whether the peer takes the snapshot of this message at all; who has forgotten its votes is particular. */
  admits?(event: RaftEvent): boolean;
  /** Steps a Raft message as if it came from the network. */
  deliver(event: RaftEvent): void;
}

/** Bytes that may be in memory for one snapshot that is received. */
export function windowBytes(limits: SnapshotLimits): number {
  return limits.creditChunks * SNAPSHOT_CHUNK_BYTES;
}

/** What happened so far, for people and for specs. */
export interface SnapshotCounters {
  sent: number;
  refused: number;
  failed: number;
  received: number;
  turnedDown: number;
  abandoned: number;
  installed: number;
  chunksSent: number;
  /** Of them: sent a second time or more. */
  chunksResent: number;
  bytesSent: number;
  chunksReceived: number;
  bytesReceived: number;
  /** Chunks that were not what was wanted next, or more than the window. */
  chunksDropped: number;
  /** What came over the bulk channel and is no chunk of any transfer. */
  garbage: number;
}

export function noCounters(): SnapshotCounters {
  return {
    sent: 0,
    refused: 0,
    failed: 0,
    received: 0,
    turnedDown: 0,
    abandoned: 0,
    installed: 0,
    chunksSent: 0,
    chunksResent: 0,
    bytesSent: 0,
    chunksReceived: 0,
    bytesReceived: 0,
    chunksDropped: 0,
    garbage: 0,
  };
}

/** One transfer under way. */
export interface TransferStatus {
  readonly direction: 'send' | 'receive';
  readonly region: number;
  /** The peer that the snapshot is for. */
  readonly peer: number;
  /** The other store. */
  readonly store: number;
  readonly index: number;
  readonly chunks: number;
  readonly bytes: number;
  /** The state of its machine, as a path: `underWay.streaming`. */
  readonly state: string;
}
