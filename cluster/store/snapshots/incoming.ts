import type { ActorRef, TimerHandle } from '../../../actors/index.js';
import {
  type SnapshotReceiverHost,
  type SnapshotReceiverTotals,
  type SnapshotReceiverWait,
  snapshotReceiverMachine,
} from '../../../machines/index.js';
import { SnapshotFile, type SnapshotIdentity, StorageError } from '../../../storage/index.js';
import type { metapb } from '../../../storage/proto/index.js';
import { snapshotpb } from '../../proto/index.js';
import type { SnapshotCancel, SnapshotFinish, SnapshotOffer, TransferId } from '../../snapshot-protocol.js';
import { judge } from './admission.js';
import {
  type RegionSnapshotsOptions,
  type SnapshotCounters,
  type SnapshotLimits,
  type SnapshotTiming,
  type TransferStatus,
  windowBytes,
} from './options.js';
import { type RefusalReason, wireReason } from './reasons.js';
import type { ReceivedFiles } from './received-files.js';

export interface IncomingParts extends Omit<RegionSnapshotsOptions, 'limits'> {
  readonly limits: SnapshotLimits;
  readonly timing: SnapshotTiming;
  readonly counters: SnapshotCounters;
  readonly files: ReceivedFiles;
  /** Regions of snapshots that came before and are received, or wait to be installed. */
  readonly expected: (incoming: IncomingSnapshot) => Iterable<metapb.Region>;
  /** Its place is free again. */
  readonly over: (incoming: IncomingSnapshot) => void;
}

/** Beside a window of chunks there are own events and the sender's few messages. */
const MAILBOX = { capacity: 4096, overflow: 'reject' } as const;

/**
 * What the receiver's machine acts with: holds the chunks that have arrived until they are written, and no more of them
 * than the window; writes them to a file beside the database, in their order.
 */
export class IncomingSnapshot implements SnapshotReceiverHost {
  readonly transfer: TransferId;
  readonly identity: SnapshotIdentity;
  /** The sender's node. */
  readonly node: string;
  readonly #parts: IncomingParts;
  readonly #actor: ActorRef;
  readonly #desk: ActorRef;
  /** The latest one: attempts count up. */
  #offer: SnapshotOffer;
  #file: SnapshotFile | undefined;
  /** Calls on the file, one after the other. */
  #writing: Promise<void> = Promise.resolve();
  readonly #held = new Map<number, Uint8Array>();
  #heldBytes = 0;
  #largest = 1;
  /** Times that chunks were asked for again. */
  #asks = 0;
  /** The limit that the sender was told last. */
  #granted = 0;
  #deadline: TimerHandle | undefined;
  #ended = false;
  #closed: Promise<void> | undefined;

  constructor(offer: SnapshotOffer, node: string, identity: SnapshotIdentity, parts: IncomingParts) {
    this.transfer = offer.transfer;
    this.node = node;
    this.identity = identity;
    this.#offer = offer;
    this.#parts = parts;
    this.#desk = parts.system.ref(`${node}/snapshots`);
    this.#actor = parts.system.spawn(snapshotReceiverMachine, {
      path: this.path,
      input: { host: this },
      mailbox: MAILBOX,
      supervision: { onFailure: 'stop' },
    });
    this.#actor.watch(() => this.ended('abandoned', 'disk-failed'));
  }

  get path(): string {
    const { storeId, incarnation, number } = this.transfer;
    return `snapshots/receive/${storeId}.${incarnation}.${number}`;
  }

  get region(): metapb.Region {
    return this.#offer.region;
  }

  /** Of the Raft message. */
  get term(): number {
    return this.#offer.raft.message.term;
  }

  status(state: string): TransferStatus {
    const { region, peer, index } = this.identity;
    return {
      direction: 'receive',
      region,
      peer,
      store: this.transfer.storeId,
      index,
      chunks: this.#file?.chunks ?? 0,
      bytes: this.#file?.bytes ?? 0,
      state,
    };
  }

  /** What the sender said. */
  take(event: SnapshotOffer | SnapshotFinish | SnapshotCancel): void {
    const actor = this.#actor;
    if (event.type === 'snapshot.offer') {
      if (event.attempt > this.#offer.attempt) this.#offer = event;
      actor.tell({ type: 'offered' });
    } else if (event.type === 'snapshot.finish') {
      const { chunks, bytes, checksum } = event;
      actor.tell({ type: 'finished', totals: { chunks, bytes, checksum } });
    } else {
      this.cancel('silent');
    }
  }

  /** A chunk of this transfer came over the bulk channel. What does not fit into the window is not kept. */
  arrived(sequence: number, chunk: Uint8Array): void {
    const { counters, limits } = this.#parts;
    const full = this.#heldBytes > 0 && this.#heldBytes + chunk.length > windowBytes(limits);
    if (this.#ended || full || this.#held.has(sequence)) {
      counters.chunksDropped++;
      return;
    }
    this.#held.set(sequence, chunk);
    this.#heldBytes += chunk.length;
    if (!this.#actor.tell({ type: 'chunkArrived', sequence })) this.drop(sequence);
  }

  cancel(reason: RefusalReason): void {
    this.#actor.tell({ type: 'cancelled', reason });
  }

  /** Ends it without its actor and keeps what is written: the sender may return after this store's restart. */
  async close(): Promise<void> {
    this.#end();
    this.#actor.stop();
    await (this.#closed ?? this.#closeFile());
  }

  // The machine's actions.

  admit(): void {
    this.#run(async () => {
      const refusal = await this.#judge();
      if (refusal !== undefined) return this.#turnDown(refusal);
      const { files, engine } = this.#parts;
      this.#file = await SnapshotFile.open(engine.files, files.claim(this.identity), this.identity);
      if (this.#file.finished) this.#actor.tell({ type: 'verified' });
      else this.#actor.tell({ type: 'admitted', next: this.#file.chunks });
    });
  }

  accept(next: number): void {
    this.#granted = this.#limit(next);
    this.#desk.tell({
      type: 'snapshot.answer',
      transfer: this.transfer,
      attempt: this.#offer.attempt,
      busy: false,
      next,
      limit: this.#granted,
      ask: this.#asks,
    });
  }

  write(sequence: number): void {
    const chunk = this.#held.get(sequence);
    if (chunk === undefined) return;
    this.#largest = Math.max(this.#largest, chunk.length);
    this.#run(async () => {
      const file = this.#file;
      if (file === undefined) return;
      const { counters, limits } = this.#parts;
      if (file.bytes + chunk.length > Math.min(this.#offer.maxBytes, limits.receiveBytes)) {
        return this.#turnDown('too-large');
      }
      await file.append(chunk);
      this.#forget(sequence, chunk);
      counters.chunksReceived++;
      counters.bytesReceived += chunk.length;
      this.#actor.tell({ type: 'chunkWritten' });
    });
  }

  drop(sequence: number): void {
    const chunk = this.#held.get(sequence);
    if (chunk === undefined) return;
    this.#forget(sequence, chunk);
    this.#parts.counters.chunksDropped++;
  }

  /** Half a window at a time: a message for each chunk would say little more. */
  giveCredit(next: number): void {
    const limit = this.#limit(next);
    if (limit - this.#granted < this.#window() / 2) return;
    this.#credit(next, limit);
  }

  askAgain(next: number, ask: number): void {
    this.#asks = ask;
    this.#credit(next, this.#limit(next));
  }

  verify(totals: SnapshotReceiverTotals): void {
    this.#run(async () => {
      await this.#file?.finish(totals);
      const refusal = await this.#judge();
      if (refusal !== undefined) this.#turnDown(refusal);
      else this.#actor.tell({ type: 'verified' });
    });
  }

  arm(deadline: number, wait: SnapshotReceiverWait): void {
    const { clock, timing } = this.#parts;
    if (this.#deadline !== undefined) clock.clearTimeout(this.#deadline);
    this.#deadline = clock.setTimeout(
      () => this.#actor.tell({ type: 'deadline', deadline }),
      timing.receiver[wait],
    );
  }

  ended(outcome: 'delivered' | 'refused' | 'abandoned', reason: string): void {
    if (this.#ended) return;
    this.#end();
    const { counters } = this.#parts;
    if (outcome === 'delivered') counters.received++;
    else if (outcome === 'refused') counters.turnedDown++;
    else counters.abandoned++;
    this.#closed = this.#closeFile()
      .then(() => (outcome === 'delivered' ? this.#deliver() : this.#discard(outcome, reason)))
      .catch((error: unknown) => this.#parts.logger.warn({ err: error }, 'a snapshot file was left behind'))
      .then(() => this.#parts.over(this));
  }

  // What they are made of.

  #judge(): Promise<RefusalReason | undefined> {
    return judge(this.#offer, { ...this.#parts, expected: () => this.#parts.expected(this) });
  }

  /** Runs after what was begun before; what fails ends the transfer. */
  #run(work: () => Promise<void>): void {
    this.#writing = this.#writing.then(async () => {
      if (this.#ended) return;
      try {
        await work();
      } catch (error) {
        const corrupt = error instanceof StorageError && error.code === 'corrupt-snapshot';
        if (!corrupt)
          this.#parts.logger.warn({ err: error, path: this.path }, 'a snapshot cannot be written');
        this.#turnDown(corrupt ? 'corrupt' : 'disk-failed');
      }
    });
  }

  #turnDown(reason: RefusalReason): void {
    this.#actor.tell({ type: 'turnedDown', reason });
  }

  #forget(sequence: number, chunk: Uint8Array): void {
    if (this.#held.delete(sequence)) this.#heldBytes -= chunk.length;
  }

  /** Chunks that may be under way: fewer when they are large, as large values make them. */
  #window(): number {
    const { limits } = this.#parts;
    const fitting = Math.floor(windowBytes(limits) / this.#largest);
    return Math.max(1, Math.min(limits.creditChunks, fitting));
  }

  #limit(next: number): number {
    return Math.max(next, (this.#file?.chunks ?? 0) + this.#window());
  }

  /** Says every time how often was asked: one of these messages may be lost. */
  #credit(next: number, limit: number): void {
    this.#granted = Math.max(this.#granted, limit);
    this.#desk.tell({ type: 'snapshot.credit', transfer: this.transfer, next, limit, ask: this.#asks });
  }

  #end(): void {
    this.#ended = true;
    const { clock } = this.#parts;
    if (this.#deadline !== undefined) clock.clearTimeout(this.#deadline);
    this.#held.clear();
    this.#heldBytes = 0;
  }

  async #closeFile(): Promise<void> {
    await this.#writing;
    await this.#file?.close();
  }

  async #deliver(): Promise<void> {
    const { files, deliver, logger } = this.#parts;
    const { region, peer, index } = this.identity;
    files.add(this.identity, this.#offer);
    logger.info({ region, peer, index, bytes: this.#file?.bytes }, 'a snapshot has arrived whole');
    deliver(this.#offer.raft);
    this.#tellResult(snapshotpb.Outcome.Delivered, snapshotpb.Reason.NoReason);
  }

  async #discard(outcome: 'refused' | 'abandoned', reason: string): Promise<void> {
    const { files, logger } = this.#parts;
    const { region, peer, index } = this.identity;
    logger.warn({ region, peer, index, reason, from: this.node }, `a snapshot was ${outcome}`);
    if (this.#file !== undefined) {
      // Another transfer of the same snapshot can go on with it.
      if (reason === 'stale' && outcome === 'abandoned') files.keep(this.identity);
      else await files.remove(this.identity);
    }
    this.#tellResult(snapshotpb.Outcome.Refused, wireReason(reason));
  }

  #tellResult(outcome: snapshotpb.Outcome, reason: snapshotpb.Reason): void {
    this.#desk.tell({ type: 'snapshot.result', transfer: this.transfer, outcome, reason });
  }
}
