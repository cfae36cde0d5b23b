import { type Engine, loadRegionState, type WriteBatch } from '../../storage/index.js';
import type { metapb, RaftEvent } from '../../storage/proto/index.js';
import { deleteRecoveryFloor, loadRecoveryFloor, loadRepair } from '../../storage/repair-record.js';
import { RecoveringPeer, type RecoveringPeerParts } from './recovering-peer.js';
import type { RegionReplica } from './replica.js';

export interface RepairedPeersParts extends RecoveringPeerParts {
  readonly storeId: number;
  /** What the repair left on disk cannot be read. */
  readonly failed: (error: unknown) => void;
  /** A replica without a group, and its actor; `undefined` when the region has one here already. */
  readonly makeReplica: (region: metapb.Region, recovery: (replica: RegionReplica) => RecoveringPeer) => void;
}

/** Regions that the scheduler is asked for at a time. */
const PAGE = 256;
/** Milliseconds between two questions to a scheduler that does not answer. */
const RETRY_MS = 1_000;
const NO_KEY = new Uint8Array(0);

/**
 * The peers of a store that was repaired: those with ids from before the repair, and no state on disk, have forgotten their
 * votes. They come back one by one (docs/decisions/store-repair.md).
 */
export class RepairedPeers {
  readonly #parts: RepairedPeersParts;
  readonly #engine: Engine;
  readonly #watermark: number;
  readonly #peers = new Map<number, RecoveringPeer>();
  readonly #asked = new Set<number>();
  #stopped = false;

  private constructor(parts: RepairedPeersParts, watermark: number) {
    this.#parts = parts;
    this.#engine = parts.engine;
    this.#watermark = watermark;
  }

  /** `undefined` for a store that was never repaired. @throws StorageError `format` */
  static async load(parts: RepairedPeersParts): Promise<RepairedPeers | undefined> {
    const repair = await loadRepair(parts.engine);
    return repair === undefined ? undefined : new RepairedPeers(parts, repair.watermark);
  }

  /** Learns from the scheduler which regions have a peer here. Does not wait for a scheduler that is away. */
  start(): void {
    this.#askAll().catch((error: unknown) => this.#parts.failed(error));
  }

  /** A message came for a region that is not here. */
  heardOf({ regionId, toPeer }: RaftEvent): void {
    if (toPeer.id >= this.#watermark || this.#asked.has(regionId) || this.#peers.has(regionId)) return;
    this.#asked.add(regionId);
    this.#parts.scheduler
      .getRegionById(regionId)
      .then(({ region }) => (region === undefined ? undefined : this.#begin(region)))
      .catch((error: unknown) =>
        this.#parts.logger.debug({ err: error, region: regionId }, 'a region could not be looked up'),
      )
      .finally(() => this.#asked.delete(regionId));
  }

  /** Takes the first region of a cluster for what it is: one that was forgotten. False when the peer is new. */
  async claims(region: metapb.Region): Promise<boolean> {
    const peer = this.#peerOf(region);
    if (peer === undefined || peer.id >= this.#watermark) return false;
    await this.#begin(region);
    return true;
  }

  /** The peer is not going to come back. */
  forget(regionId: number): void {
    this.#peers.delete(regionId);
  }

  /** The peer is from before the repair: it comes back by itself, and not anew. */
  forgot(peerId: number): boolean {
    return peerId < this.#watermark;
  }

  isRecovering(regionId: number, peerId: number): boolean {
    return this.#peers.get(regionId)?.replica.peer.id === peerId;
  }

  /** Whether a peer takes this snapshot; whole ones take any. */
  admits({ regionId, message }: RaftEvent): boolean {
    return this.#peers.get(regionId)?.admits(message) ?? true;
  }

  /** Part of the batch that makes a snapshot durable. */
  installing(regionId: number, batch: WriteBatch): void {
    const peer = this.#peers.get(regionId);
    if (peer === undefined) return;
    deleteRecoveryFloor(batch, regionId);
    peer.installing();
  }

  /** The snapshot is durable. */
  restored(regionId: number): void {
    const peer = this.#peers.get(regionId);
    this.#peers.delete(regionId);
    peer?.restored();
  }

  stop(): void {
    this.#stopped = true;
    for (const peer of this.#peers.values()) peer.stop();
  }

  async #askAll(): Promise<void> {
    const { scheduler, logger, clock } = this.#parts;
    let start: Uint8Array = NO_KEY;
    while (!this.#stopped) {
      const regions = await scheduler.scanRegions(start, NO_KEY, PAGE).catch((error: unknown) => {
        logger.debug(
          { err: error },
          'the scheduler could not be asked for the regions of this repaired store',
        );
        return undefined;
      });
      if (regions === undefined) {
        await new Promise<void>((resolve) => clock.setTimeout(resolve, RETRY_MS));
        continue;
      }
      for (const { region } of regions) if (region !== undefined) await this.#begin(region);
      const end = regions.at(-1)?.region?.endKey ?? NO_KEY;
      if (end.length === 0) return;
      start = end;
    }
  }

  async #begin(region: metapb.Region): Promise<void> {
    const peer = this.#peerOf(region);
    if (this.#stopped || peer === undefined || peer.id >= this.#watermark) return;
    if (this.#peers.has(region.id) || (await loadRegionState(this.#engine, region.id)) !== undefined) return;
    const known = await loadRecoveryFloor(this.#engine, region.id, peer.id);
    if (this.#stopped || this.#peers.has(region.id)) return;
    this.#parts.makeReplica(region, (replica) => {
      const recovering = new RecoveringPeer(replica, known, this.#parts);
      this.#peers.set(region.id, recovering);
      return recovering;
    });
  }

  #peerOf(region: metapb.Region): metapb.Peer | undefined {
    return region.peers.find(({ storeId }) => storeId === this.#parts.storeId);
  }
}
