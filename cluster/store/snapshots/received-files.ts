import type { Clock, Logger, TimerHandle } from '../../../actors/index.js';
import type { Snapshot } from '../../../machines/index.js';
import {
  type Engine,
  installRegionSnapshot,
  loadRegionStates,
  parseSnapshotFileName,
  type SnapshotIdentity,
  StorageCorruptionError,
  StorageError,
  saveRegionState,
  snapshotFileName,
  type WriteBatch,
} from '../../../storage/index.js';
import { type metapb, raft_serverpb } from '../../../storage/proto/index.js';
import { GroupRecord, groupKey } from '../../../storage/raft-keys.js';
import { TroupeError } from '../../errors.js';
import type { SnapshotOffer, TransferId } from '../../snapshot-protocol.js';
import type { TaskQueue } from '../../tasks.js';
import { epochOf, isEpochStale } from '../admin/epoch.js';
import type { SnapshotLimits, SnapshotTiming } from './options.js';

export interface ReceivedFilesOptions {
  readonly engine: Engine;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly storeId: number;
  readonly tasks: TaskQueue;
  readonly limits: SnapshotLimits;
  readonly timing: SnapshotTiming;
}

/** A whole snapshot beside the database. */
export interface VerifiedSnapshot {
  readonly identity: SnapshotIdentity;
  readonly region: metapb.Region;
  /** The batch that makes it the region's state is under way, or durable. */
  readonly installing: boolean;
}

interface Verified extends VerifiedSnapshot {
  installing: boolean;
  expiry: TimerHandle | undefined;
}

/** Delivered transfers that are remembered. */
const MAX_REMEMBERED = 64;
/** Milliseconds between two attempts to find a place for an installation among the tasks. */
const TASK_RETRY_MS = 100;

/**
 * The snapshot files beside the database: those that are whole, those that are being brought in, and what is left of
 * transfers that may still go on. Every file has an end: installed, or removed after a time.
 */
export class ReceivedFiles {
  readonly #options: ReceivedFilesOptions;
  readonly #verified = new Map<string, Verified>();
  readonly #leftovers = new Map<string, TimerHandle>();
  /** Transfers that were delivered, the oldest first. */
  readonly #delivered = new Set<string>();
  #closed = false;

  constructor(options: ReceivedFilesOptions) {
    this.#options = options;
  }

  get verified(): Iterable<VerifiedSnapshot> {
    return this.#verified.values();
  }

  get verifiedCount(): number {
    return this.#verified.size;
  }

  /** Of these, how many are being brought in. */
  get installingCount(): number {
    let count = 0;
    for (const { installing } of this.#verified.values()) if (installing) count++;
    return count;
  }

  /**
   * Removes the files that nothing needs: of parts of snapshots the newest are kept for a while, as many as transfers
   * may run at a time.
   */
  async start(): Promise<void> {
    const { engine, limits } = this.#options;
    const installing = new Set<string>();
    for (const { identity } of await this.#beingInstalled()) installing.add(snapshotFileName(identity));
    const parts: SnapshotIdentity[] = [];
    for (const { name } of await engine.files.list()) {
      if (installing.has(name)) continue;
      const identity = parseSnapshotFileName(name);
      if (identity === undefined) await engine.files.remove(name);
      else parts.push(identity);
    }
    parts.sort((a, b) => b.index - a.index);
    const kept = new Set<string>();
    for (const identity of parts) {
      const peer = `${identity.region} ${identity.peer}`;
      if (kept.size >= limits.receives || kept.has(peer)) await this.remove(identity);
      else this.keep(identity);
      kept.add(peer);
    }
  }

  /**
   * Ends the installations that a crash interrupted.
   * @throws StorageCorruptionError when the data for one is missing or damaged.
   */
  async finishInstallations(): Promise<void> {
    for (const { identity, region } of await this.#beingInstalled()) {
      const name = snapshotFileName(identity);
      try {
        await this.#install(identity, region);
      } catch (cause) {
        if (!(cause instanceof StorageError)) throw cause;
        if (cause.code !== 'corrupt-snapshot' && cause.code !== 'not-found') throw cause;
        throw new StorageCorruptionError(
          name,
          undefined,
          `region ${region.id} was being replaced by this snapshot, which is missing or damaged`,
          { cause },
        );
      }
      this.#options.logger.info({ region: region.id }, 'the installation of a snapshot was finished');
    }
  }

  /** The file's name, for a transfer that is about to write it; what is left of older ones for the peer goes. */
  claim(identity: SnapshotIdentity): string {
    const claimed = snapshotFileName(identity);
    for (const [name, timer] of this.#leftovers) {
      const left = parseSnapshotFileName(name);
      if (left?.region !== identity.region || left.peer !== identity.peer) continue;
      this.#options.clock.clearTimeout(timer);
      this.#leftovers.delete(name);
      if (name !== claimed) this.#removeLater(left);
    }
    return claimed;
  }

  /** Keeps what a transfer has written, for another one of the same snapshot. */
  keep(identity: SnapshotIdentity): void {
    const name = snapshotFileName(identity);
    const { clock, timing } = this.#options;
    const before = this.#leftovers.get(name);
    if (before !== undefined) clock.clearTimeout(before);
    const timer = clock.setTimeout(() => {
      this.#leftovers.delete(name);
      this.#removeLater(identity);
    }, timing.leftover);
    this.#leftovers.set(name, timer);
  }

  async remove(identity: SnapshotIdentity): Promise<void> {
    await this.#options.engine.files.remove(snapshotFileName(identity));
  }

  /** The file is whole and closed, and its message goes to Raft. */
  add(identity: SnapshotIdentity, { region, transfer }: SnapshotOffer): void {
    const name = snapshotFileName(identity);
    const verified: Verified = {
      identity,
      region,
      installing: false,
      expiry: undefined,
    };
    this.#verified.set(name, verified);
    this.#expire(verified);
    this.remember(transfer);
  }

  /** This transfer is over, and well: its sender may have to be told again. */
  remember(transfer: TransferId): void {
    this.#delivered.add(transferKey(transfer));
    const [oldest] = this.#delivered;
    if (this.#delivered.size > MAX_REMEMBERED && oldest !== undefined) this.#delivered.delete(oldest);
  }

  /** The peer is gone: what waits for it is in the way of others. */
  forget(region: number, peer: number): void {
    for (const [name, verified] of this.#verified) {
      const { identity, installing } = verified;
      if (installing || identity.region !== region || identity.peer > peer) continue;
      this.#drop(name, verified);
    }
  }

  /** Removes those that nobody will take in any more: their regions have gone on without them. */
  dropOutdated(regionOf: (id: number) => metapb.Region | undefined): void {
    for (const [name, verified] of this.#verified) {
      const own = regionOf(verified.region.id);
      if (verified.installing || own === undefined) continue;
      if (isEpochStale(epochOf(verified.region), epochOf(own))) this.#drop(name, verified);
    }
  }

  find(identity: SnapshotIdentity): VerifiedSnapshot | undefined {
    return this.#verified.get(snapshotFileName(identity));
  }

  /** Whether a snapshot for this peer is being brought in. */
  isInstalling({ region, peer }: SnapshotIdentity): boolean {
    return [...this.#verified.values()].some(
      ({ identity, installing }) => installing && identity.region === region && identity.peer === peer,
    );
  }

  /** Whether this transfer has brought its snapshot, lately. */
  delivered(transfer: TransferId): boolean {
    return this.#delivered.has(transferKey(transfer));
  }

  /** @throws TroupeError `not-found` when the snapshot is not here whole; nothing was changed. */
  installing(region: number, peer: number, snapshot: Snapshot, batch: WriteBatch): void {
    const { index, term } = snapshot;
    const verified = this.#verified.get(snapshotFileName({ region, peer, index, term }));
    if (verified === undefined) {
      throw new TroupeError(
        'not-found',
        `the snapshot of region ${region} at ${index} is not on this store: the leader has to send it again`,
      );
    }
    saveRegionState(batch, region, {
      state: raft_serverpb.PeerState.Applying,
      region: verified.region,
      peerId: peer,
    });
    verified.installing = true;
    this.#stopExpiry(verified);
  }

  /** Brings it in. @throws StorageError `corrupt-snapshot`, EngineFailedError, TroupeError `closed` */
  async install(region: number, peer: number, { index, term }: Snapshot): Promise<void> {
    const verified = this.#verified.get(snapshotFileName({ region, peer, index, term }));
    if (verified?.installing !== true) {
      throw new TroupeError('not-found', `no snapshot of region ${region} at ${index} is being installed`);
    }
    await this.#install(verified.identity, verified.region);
    this.#verified.delete(snapshotFileName(verified.identity));
  }

  close(): void {
    this.#closed = true;
    for (const verified of this.#verified.values()) this.#stopExpiry(verified);
    for (const timer of this.#leftovers.values()) this.#options.clock.clearTimeout(timer);
    this.#leftovers.clear();
  }

  async #install(identity: SnapshotIdentity, region: metapb.Region): Promise<void> {
    const { engine } = this.#options;
    const range = { start: region.startKey, end: region.endKey };
    const name = snapshotFileName(identity);
    await this.#asTask((pause) => installRegionSnapshot(engine, name, range, pause));
    // Durable before the record that it is over: the file is needed until then.
    await engine.sync();
    const batch = engine.batch();
    saveRegionState(batch, region.id, {
      state: raft_serverpb.PeerState.Normal,
      region,
      peerId: identity.peer,
    });
    await engine.write(batch);
    await engine.sync();
    await this.remove(identity).catch((error: unknown) =>
      this.#options.logger.warn({ err: error }, 'a snapshot file was left behind'),
    );
  }

  /** It has to be done, so it waits for a place among the tasks however long that takes. */
  async #asTask(work: (pause: () => Promise<void>) => Promise<void>): Promise<void> {
    const { tasks, clock } = this.#options;
    for (;;) {
      try {
        return await tasks.run('the installation of a snapshot', ({ pause }) => work(pause));
      } catch (error) {
        if (!(error instanceof TroupeError) || error.code !== 'unavailable') throw error;
      }
      await new Promise<void>((resolve) => clock.setTimeout(resolve, TASK_RETRY_MS));
    }
  }

  /** What the region states say is being installed; the apply state says from which snapshot. */
  async #beingInstalled(): Promise<{ identity: SnapshotIdentity; region: metapb.Region }[]> {
    const { engine, storeId } = this.#options;
    const found: { identity: SnapshotIdentity; region: metapb.Region }[] = [];
    for (const { state, region } of await loadRegionStates(engine)) {
      if (state !== raft_serverpb.PeerState.Applying || region === undefined) continue;
      const record = await engine.get('raft', groupKey(region.id, GroupRecord.applyState));
      const start = record && raft_serverpb.RaftApplyState.decode(record).truncatedState;
      const peer = region.peers.find((one) => one.storeId === storeId);
      if (start === undefined || peer === undefined) {
        throw new StorageError(
          'invalid-log',
          `Region ${region.id} was being replaced by a snapshot, but its records do not say by which.`,
        );
      }
      const { index, term } = start;
      found.push({ identity: { region: region.id, peer: peer.id, index, term }, region });
    }
    return found;
  }

  #expire(verified: Verified): void {
    const { clock, timing, logger } = this.#options;
    verified.expiry = clock.setTimeout(() => {
      if (verified.installing || this.#closed) return;
      this.#verified.delete(snapshotFileName(verified.identity));
      logger.warn({ ...verified.identity }, 'a snapshot was not taken in and is removed');
      this.#removeLater(verified.identity);
    }, timing.verified);
  }

  #drop(name: string, verified: Verified): void {
    this.#stopExpiry(verified);
    this.#verified.delete(name);
    this.#removeLater(verified.identity);
  }

  #stopExpiry(verified: Verified): void {
    if (verified.expiry !== undefined) this.#options.clock.clearTimeout(verified.expiry);
    verified.expiry = undefined;
  }

  /** A file that stays is found at the next start. */
  #removeLater(identity: SnapshotIdentity): void {
    if (this.#closed) return;
    this.remove(identity).catch((error: unknown) =>
      this.#options.logger.warn({ err: error }, 'a snapshot file was left behind'),
    );
  }
}

export function transferKey({ storeId, incarnation, number }: TransferId): string {
  return `${storeId}.${incarnation}.${number}`;
}
