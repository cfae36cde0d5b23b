import type { ConfState, Snapshot } from '../../../machines/index.js';
import { type Engine, type EngineSnapshot, SNAPSHOT_FAMILIES, StorageError } from '../../../storage/index.js';
import { decodeEntry, eraftpb, type metapb, raft_serverpb } from '../../../storage/proto/index.js';
import { entryKey, GroupRecord, groupKey, regionStateKey } from '../../../storage/raft-keys.js';

/** Version of the data that follows a snapshot's metadata. */
const DATA_VERSION = 1;

/** A region's data at one moment, and what Raft has to know of that moment. */
export interface RegionView {
  readonly view: EngineSnapshot;
  readonly region: metapb.Region;
  readonly snapshot: Snapshot;
  /** Of the data, roughly. */
  readonly estimatedBytes: number;
}

/**
 * Reads a region's metadata from `view`, so that it is exactly what belongs to the data in it: a turn writes both in
 * one batch.
 * @returns `undefined` when the region is not in a state to be copied, or has no such peer.
 * @throws StorageError `invalid-log` when the records contradict each other; EngineFailedError; DecodeError
 */
export async function describeView(
  engine: Engine,
  view: EngineSnapshot,
  groupId: number,
  peer: number,
): Promise<RegionView | undefined> {
  const [regionRecord, applyRecord, confRecord] = await engine.multiGet(
    'raft',
    [
      regionStateKey(groupId),
      groupKey(groupId, GroupRecord.applyState),
      groupKey(groupId, GroupRecord.confState),
    ],
    view,
  );
  if (regionRecord === undefined || applyRecord === undefined || confRecord === undefined) return undefined;
  const { state, region } = raft_serverpb.RegionLocalState.decode(regionRecord);
  if (state !== raft_serverpb.PeerState.Normal || region === undefined) return undefined;
  if (!region.peers.some(({ id }) => id === peer)) return undefined;
  const applied = raft_serverpb.RaftApplyState.decode(applyRecord);
  const confState: ConfState = eraftpb.ConfState.decode(confRecord);
  const index = applied.appliedIndex;
  const term = await termAt(engine, view, groupId, applied);
  const estimatedBytes = await estimate(engine, region);
  const data = raft_serverpb.RaftSnapshotData.encode({
    region,
    fileSize: estimatedBytes,
    data: [],
    version: DATA_VERSION,
    meta: undefined,
  });
  return { view, region, snapshot: { index, term, confState, data }, estimatedBytes };
}

async function termAt(
  engine: Engine,
  view: EngineSnapshot,
  group: number,
  { appliedIndex, truncatedState }: raft_serverpb.RaftApplyState,
): Promise<number> {
  if (truncatedState?.index === appliedIndex) return truncatedState.term;
  const entry = await engine.get('log', entryKey(group, appliedIndex), view);
  if (entry === undefined) {
    throw new StorageError(
      'invalid-log',
      `Raft group ${group}: entry ${appliedIndex} is applied and not in the log.`,
    );
  }
  return decodeEntry(entry).term;
}

async function estimate(engine: Engine, region: metapb.Region): Promise<number> {
  const range = { start: region.startKey, end: region.endKey };
  let bytes = 0;
  for (const cf of SNAPSHOT_FAMILIES) bytes += await engine.approximateSize(cf, range);
  return Math.round(bytes);
}

/** The estimate is of compressed files: a snapshot may turn out larger than it by this factor and these bytes. */
const ANNOUNCED_FACTOR = 16;
const ANNOUNCED_SLACK_BYTES = 2 ** 30;

/** A view that is to be given back, once. */
export interface HeldView extends RegionView {
  /** The sender's promise: more bytes than these are not sent. */
  readonly maxBytes: number;
  release(): void;
}

/** The views that a store holds for snapshots: as many as its limit allows. */
export class HeldViews {
  readonly #engine: Engine;
  readonly #limit: number;
  #held = 0;

  constructor(engine: Engine, limit: number) {
    this.#engine = engine;
    this.#limit = limit;
  }

  get held(): number {
    return this.#held;
  }

  /**
   * Takes a view of a region for a peer.
   * @returns `undefined` when the limit is reached, or the region cannot be copied now.
   * @throws what `describeView` throws.
   */
  async take(groupId: number, peer: number): Promise<HeldView | undefined> {
    if (this.#held >= this.#limit) return undefined;
    this.#held++;
    const view = this.#engine.snapshot();
    let released = false;
    const release = () => {
      if (released) return;
      released = true;
      this.#held--;
      view.release();
    };
    try {
      const described = await describeView(this.#engine, view, groupId, peer);
      if (described === undefined) {
        release();
        return undefined;
      }
      const maxBytes = described.estimatedBytes * ANNOUNCED_FACTOR + ANNOUNCED_SLACK_BYTES;
      return { ...described, maxBytes, release };
    } catch (error) {
      release();
      throw error;
    }
  }
}
