import { NO_BYTES } from './conf-change.js';
import { type AckedIndexes, type JointVoters, jointCommitted } from './quorum.js';

/** A read that waits until a quorum confirms the leader (Raft thesis 6.4). */
export interface PendingRead {
  /** Who asked; the leader's own id for itself. */
  readonly from: number;
  /** The commit index when it was asked. */
  readonly index: number;
  /** The asker's own bytes, handed back untouched and never used to match. */
  readonly context: Uint8Array;
}

/**
 * Reads of one leadership. They are counted, heartbeats carry the count, and a follower's answer confirms every read
 * up to the count that it echoes. The count is the leader's own, so that a repeated or reused context of a caller
 * cannot confirm a read that was asked after the heartbeat left.
 */
export class ReadOnly implements AckedIndexes {
  private readonly acks = new Map<number, number>();
  private unconfirmed: PendingRead[] = [];
  private confirmed = 0;

  add(read: PendingRead): void {
    this.unconfirmed.push(read);
  }

  get pending(): number {
    return this.unconfirmed.length;
  }

  /** Reads asked in this leadership so far. */
  get count(): number {
    return this.confirmed + this.unconfirmed.length;
  }

  /** What heartbeats carry for them: nothing while no read waits. */
  get heartbeatContext(): Uint8Array {
    return this.pending === 0 ? NO_BYTES : encodeReadCount(this.count);
  }

  /** A count beyond the reads that were asked cannot be an echo, and confirms no later read. */
  acknowledge(id: number, count: number): void {
    if (count > (this.acks.get(id) ?? 0) && count <= this.count) this.acks.set(id, count);
  }

  ackedIndex(id: number): number | undefined {
    return this.acks.get(id);
  }

  /** Takes out the reads that a quorum has confirmed, oldest first. */
  advance(voters: JointVoters): readonly PendingRead[] {
    const confirmed = jointCommitted(voters, this);
    if (confirmed <= this.confirmed) return [];
    const reads = this.unconfirmed.splice(0, confirmed - this.confirmed);
    this.confirmed += reads.length;
    return reads;
  }
}

/** A read count as heartbeats carry it: 8 bytes, little endian. */
export function encodeReadCount(count: number): Uint8Array {
  const bytes = new Uint8Array(8);
  let rest = count;
  for (let i = 0; rest > 0; i++) {
    bytes[i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return bytes;
}

/** The count that an answer echoes; 0 for bytes that are none. */
export function decodeReadCount(bytes: Uint8Array): number {
  if (bytes.length !== 8) return 0;
  let count = 0;
  for (let i = 7; i >= 0; i--) count = count * 256 + (bytes[i] as number);
  return Number.isSafeInteger(count) ? count : 0;
}
