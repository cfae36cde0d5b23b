import type { ActorRef, BulkChannel, TimerHandle } from '../../../actors/index.js';
import {
  type SnapshotSenderHost,
  type SnapshotSenderWait,
  snapshotSenderMachine,
} from '../../../machines/index.js';
import { crc32c } from '../../../storage/crc32c.js';
import { RegionSnapshotReader, type SnapshotCursor } from '../../../storage/index.js';
import type { metapb, RaftEvent } from '../../../storage/proto/index.js';
import { TroupeError } from '../../errors.js';
import { snapshotpb } from '../../proto/index.js';
import type { SnapshotAnswer, SnapshotCredit, SnapshotResult, TransferId } from '../../snapshot-protocol.js';
import type { Task } from '../../tasks.js';
import { encodeChunkFrame } from './chunk-frame.js';
import {
  type RegionSnapshotsOptions,
  SENDER_PATIENCE,
  type SnapshotCounters,
  type SnapshotTiming,
  type TransferStatus,
} from './options.js';
import type { HeldView } from './prepared.js';
import { nameOfReason } from './reasons.js';

/** What the sending side needs of a Raft group. */
export interface SnapshotGroup {
  readonly id: number;
  readonly peerId: number;
  readonly isLeader: boolean;
  readonly term: number;
  reportSnapshot(peer: number, delivered: boolean): void;
}

export interface OutgoingParts extends RegionSnapshotsOptions {
  readonly timing: SnapshotTiming;
  readonly counters: SnapshotCounters;
  readonly bulk: () => BulkChannel | undefined;
  /** Its place is free again. */
  readonly over: (outgoing: OutgoingSnapshot) => void;
}

export interface OutgoingSubject {
  readonly transfer: TransferId;
  readonly group: SnapshotGroup;
  readonly held: HeldView;
  /** With the core's `installSnapshot` message. */
  readonly raft: RaftEvent;
  /** The receiver's node. */
  readonly node: string;
}

/** Where a chunk begins, and what the chunks before it amount to. */
interface Position {
  readonly cursor: SnapshotCursor | undefined;
  readonly bytes: number;
  readonly checksum: number;
}

const BEGINNING: Position = { cursor: undefined, bytes: 0, checksum: 0 };
/** Own events, and what the receiver says: a credit for each half window. */
const MAILBOX = { capacity: 1024, overflow: 'reject' } as const;

/**
 * What the sender's machine acts with: reads the view chunk by chunk, each as a task of its own, and remembers where the
 * chunks begin that the receiver does not have yet.
 */
export class OutgoingSnapshot implements SnapshotSenderHost {
  readonly transfer: TransferId;
  readonly group: SnapshotGroup;
  readonly node: string;
  readonly peer: metapb.Peer;
  readonly #parts: OutgoingParts;
  readonly #subject: OutgoingSubject;
  readonly #reader: RegionSnapshotReader;
  readonly #actor: ActorRef;
  readonly #desk: ActorRef;
  readonly #positions = new Map<number, Position>([[0, BEGINNING]]);
  #totals: { readonly chunks: number; readonly bytes: number; readonly checksum: number } | undefined;
  /** The chunk that is to be sent next; overtakes one that is being read. */
  #wanted: number | undefined;
  #reading: Promise<void> | undefined;
  #deadline: TimerHandle | undefined;
  readonly #lifetime: TimerHandle;
  #ended = false;
  #highest = -1;
  #bytesSent = 0;

  constructor(subject: OutgoingSubject, parts: OutgoingParts) {
    const { held, raft, node, transfer, group } = subject;
    const { system, engine, clock, timing } = parts;
    this.#subject = subject;
    this.#parts = parts;
    this.transfer = transfer;
    this.group = group;
    this.node = node;
    this.peer = raft.toPeer;
    const { startKey: start, endKey: end } = held.region;
    this.#reader = new RegionSnapshotReader(engine, held.view, { start, end });
    this.#desk = system.ref(`${node}/snapshots`);
    this.#actor = system.spawn(snapshotSenderMachine, {
      path: this.path,
      input: { host: this, patience: SENDER_PATIENCE },
      mailbox: MAILBOX,
      supervision: { onFailure: 'stop' },
    });
    this.#actor.watch(() => this.ended('failed', 'its actor stopped'));
    this.#lifetime = clock.setTimeout(
      () => this.cancel('it takes longer than any transfer may'),
      timing.transfer,
    );
  }

  get path(): string {
    return `snapshots/send/${this.transfer.number}`;
  }

  get region(): number {
    return this.group.id;
  }

  status(state: string): TransferStatus {
    return {
      direction: 'send',
      region: this.region,
      peer: this.peer.id,
      store: this.peer.storeId,
      index: this.#subject.held.snapshot.index,
      chunks: this.#highest + 1,
      bytes: this.#bytesSent,
      state,
    };
  }

  /** What the receiver said. */
  take(event: SnapshotAnswer | SnapshotCredit | SnapshotResult): void {
    const actor = this.#actor;
    if (event.type === 'snapshot.answer') {
      const { attempt, busy, next, limit, ask } = event;
      actor.tell(busy ? { type: 'busy', attempt } : { type: 'accepted', attempt, next, limit, ask });
    } else if (event.type === 'snapshot.credit') {
      const { next, limit, ask } = event;
      actor.tell({ type: 'credit', next, limit, ask });
    } else if (event.outcome === snapshotpb.Outcome.Delivered) {
      actor.tell({ type: 'delivered' });
    } else if (event.outcome === snapshotpb.Outcome.NotHere) {
      actor.tell({ type: 'notHere' });
    } else {
      actor.tell({ type: 'refused', reason: nameOfReason(event.reason) });
    }
  }

  connection(lost: boolean): void {
    this.#actor.tell({ type: lost ? 'connectionLost' : 'connectionBack' });
  }

  cancel(reason: string): void {
    this.#actor.tell({ type: 'cancelled', reason });
  }

  /** Ends it without its actor, and waits for the read that is under way. */
  async close(): Promise<void> {
    this.ended('failed', 'the store stops');
    this.#actor.stop();
    await this.#reading;
  }

  // The machine's actions.

  offer(attempt: number): void {
    if (this.#superseded()) return;
    const { transfer, raft, held } = this.#subject;
    const { region, estimatedBytes, maxBytes } = held;
    this.#desk.tell({ type: 'snapshot.offer', transfer, attempt, raft, region, estimatedBytes, maxBytes });
  }

  sendChunk(sequence: number): void {
    if (this.#superseded()) return;
    this.#wanted = sequence;
    this.#reading ??= this.#readWanted();
  }

  acknowledged(next: number): void {
    for (const sequence of this.#positions.keys()) {
      if (sequence > 0 && sequence < next) this.#positions.delete(sequence);
    }
  }

  finish(): void {
    if (this.#totals !== undefined) {
      this.#desk.tell({ type: 'snapshot.finish', transfer: this.transfer, ...this.#totals });
    }
  }

  arm(deadline: number, wait: SnapshotSenderWait): void {
    const { clock, timing } = this.#parts;
    if (this.#deadline !== undefined) clock.clearTimeout(this.#deadline);
    this.#deadline = clock.setTimeout(
      () => this.#actor.tell({ type: 'deadline', deadline }),
      timing.sender[wait],
    );
  }

  ended(outcome: 'delivered' | 'refused' | 'failed', reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    const { clock, logger, counters } = this.#parts;
    const { group, held, transfer } = this.#subject;
    clock.clearTimeout(this.#lifetime);
    if (this.#deadline !== undefined) clock.clearTimeout(this.#deadline);
    const delivered = outcome === 'delivered';
    const facts = { region: this.region, peer: this.peer.id, index: held.snapshot.index, store: this.node };
    if (delivered) logger.info({ ...facts, bytes: this.#bytesSent }, 'a snapshot was delivered');
    else
      logger.warn({ ...facts, reason }, `a snapshot was ${outcome === 'refused' ? 'refused' : 'not sent'}`);
    counters[delivered ? 'sent' : outcome]++;
    if (outcome === 'failed') this.#desk.tell({ type: 'snapshot.cancel', transfer });
    const give = () => {
      held.release();
      this.#parts.over(this);
    };
    // The view may go only when nothing reads from it.
    if (this.#reading === undefined) give();
    else void this.#reading.then(give);
    group.reportSnapshot(this.peer.id, delivered);
  }

  /** Messages of a term that is over would be thrown away at the other end. */
  #superseded(): boolean {
    const { group, raft } = this.#subject;
    if (group.isLeader && group.term === raft.message.term) return false;
    this.cancel('this peer does not lead in the term any more');
    return true;
  }

  async #readWanted(): Promise<void> {
    while (this.#wanted !== undefined && !this.#ended) {
      const sequence = this.#wanted;
      this.#wanted = undefined;
      try {
        await this.#parts.tasks.run('the sending of a snapshot', (task) => this.#read(sequence, task));
      } catch (error) {
        if (this.#ended) break;
        // Too many tasks wait: it tries again when the receiver has been asked where to go on.
        if (error instanceof TroupeError && error.code === 'unavailable') {
          this.#actor.tell({ type: 'chunkLost', sequence });
        } else {
          this.#actor.tell({
            type: 'readFailed',
            reason: error instanceof Error ? error.message : String(error),
          });
        }
      }
    }
    this.#reading = undefined;
  }

  /** Goes to the chunk from the nearest place known before it, and sends it. */
  async #read(sequence: number, task: Task): Promise<void> {
    let at = Math.max(...[...this.#positions.keys()].filter((known) => known <= sequence));
    while (!this.#ended && this.#wanted === undefined) {
      const { cursor, bytes, checksum } = this.#positions.get(at) ?? BEGINNING;
      const { chunk, next } = await this.#reader.next(cursor);
      const after = {
        cursor: next,
        bytes: bytes + chunk.length,
        checksum: crc32c(chunk, 0, chunk.length, checksum),
      };
      if (after.bytes > this.#subject.held.maxBytes) {
        throw new TroupeError(
          'failed',
          `the snapshot is larger than announced (${this.#subject.held.maxBytes})`,
        );
      }
      if (next === undefined) {
        this.#totals = { chunks: at + 1, bytes: after.bytes, checksum: after.checksum };
      } else {
        this.#positions.set(at + 1, after);
      }
      if (at === sequence) return this.#send(sequence, chunk, next === undefined);
      // Only passed through.
      if (at > 0) this.#positions.delete(at);
      if (next === undefined) {
        throw new TroupeError('failed', `the receiver claims ${sequence} chunks of ${at + 1}`);
      }
      at++;
      await task.pause();
    }
  }

  #send(sequence: number, chunk: Uint8Array, last: boolean): void {
    if (this.#ended || this.#wanted !== undefined) return;
    const { counters, bulk } = this.#parts;
    const sent = bulk()?.send(this.node, encodeChunkFrame(this.transfer, sequence, chunk)) ?? false;
    if (!sent) {
      this.#actor.tell({ type: 'chunkLost', sequence });
      return;
    }
    counters.chunksSent++;
    counters.bytesSent += chunk.length;
    if (sequence <= this.#highest) counters.chunksResent++;
    else this.#bytesSent += chunk.length;
    this.#highest = Math.max(this.#highest, sequence);
    this.#actor.tell({ type: 'chunkSent', sequence, last });
  }
}
