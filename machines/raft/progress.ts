import { invariant } from './errors.js';
import type { Inflights } from './inflights.js';

/**
 * How a leader feeds a follower. `probe`: one append per heartbeat interval until one is acknowledged. `replicate`:
 * optimistic, `next` moves as entries are sent. `snapshot`: nothing is sent until the follower has installed one.
 */
export type ProgressState = 'probe' | 'replicate' | 'snapshot';

/** What a leader knows of one member's log (Raft, figure 2: nextIndex and matchIndex), owned and changed in place. */
export class Progress {
  /** The member's log equals the leader's up to here. Never falls in a leader's term. Invariant: 0 <= match < next. */
  match: number;
  /** Entries in (match, next) are under way. Invariant: in `snapshot`, pendingSnapshot + 1. */
  next: number;
  state: ProgressState = 'probe';
  /** The highest commit index under way; may fall when the member rejects an append. */
  sentCommit = 0;
  /** How far the member knows the log to be committed, where members tell; never falls in a leader's term. */
  knownCommit = 0;
  /** Index of the snapshot that was sent. Invariant: 0 in every state but `snapshot`. */
  pendingSnapshot = 0;
  /** The member was heard from since the leader last checked its quorum. Always true for the leader itself. */
  recentActive = false;
  /** Heard from between the last two checks of the quorum; true for a new leader, which has made none. */
  wasActive = true;
  /** An append is awaited and no other goes out before an acknowledgement or a heartbeat response. */
  flowPaused = false;
  /** Entries went to the member since the last heartbeat was due. */
  fedSinceHeartbeat = false;
  /** Entries or a snapshot for this member are being read from disk. */
  fetching = false;
  readonly inflights: Inflights;

  constructor(match: number, next: number, inflights: Inflights) {
    this.match = match;
    this.next = next;
    this.inflights = inflights;
  }

  /** A new leader knows nothing of its members but its own last index. */
  reset(match: number, next: number): void {
    this.match = match;
    this.next = next;
    this.sentCommit = 0;
    this.knownCommit = 0;
    this.recentActive = false;
    this.wasActive = true;
    this.fedSinceHeartbeat = false;
    this.fetching = false;
    this.enter('probe');
  }

  /** Probes from what is known to match, or from behind a snapshot that was delivered. */
  becomeProbe(): void {
    const base = this.state === 'snapshot' ? Math.max(this.match, this.pendingSnapshot) : this.match;
    this.enter('probe');
    this.next = base + 1;
    this.lowerSentCommit();
  }

  /** The snapshot did not arrive: the member has what it had before. */
  snapshotFailed(): void {
    invariant(this.state === 'snapshot', () => `a snapshot is given up that was not sent, in ${this.state}`);
    this.pendingSnapshot = 0;
    this.becomeProbe();
  }

  becomeReplicate(): void {
    this.enter('replicate');
    this.next = this.match + 1;
  }

  becomeSnapshot(index: number): void {
    invariant(
      index > this.match,
      () => `a snapshot at ${index} is for a member that matches through ${this.match}`,
    );
    this.enter('snapshot');
    this.pendingSnapshot = index;
    this.next = index + 1;
    this.sentCommit = index;
  }

  /** Accounts for an append of `count` entries with `bytes` of payload, from `next` on. Not while in `snapshot`. */
  sentEntries(count: number, bytes: number): void {
    invariant(this.state !== 'snapshot', () => 'entries are sent to a member that waits for a snapshot');
    if (this.state === 'replicate') {
      if (count > 0) {
        this.next += count;
        this.inflights.add(this.next - 1, bytes);
      }
      // A message that fills the window, or is sent into a full one, is a probe.
      this.flowPaused = this.inflights.full;
    } else if (count > 0) {
      this.flowPaused = true;
    }
  }

  /** Whether an append sent now only for its commit index could move the member's. */
  canBumpCommit(commit: number): boolean {
    return commit > this.sentCommit && this.sentCommit < this.next - 1;
  }

  /** Takes an acknowledgement up to `index`. Returns false when it tells nothing new. */
  maybeUpdate(index: number): boolean {
    if (index <= this.match) return false;
    this.match = index;
    this.next = Math.max(this.next, index + 1);
    this.flowPaused = false;
    return true;
  }

  /**
   * Takes the rejection of an append that followed `rejected`; `hint` is where the logs may match. Returns false for a
   * rejection that is older than what is known: it must lower nothing.
   */
  maybeDecrease(rejected: number, hint: number): boolean {
    if (this.state === 'replicate') {
      if (rejected <= this.match) return false;
      this.next = this.match + 1;
    } else {
      // Probes go out one at a time, so a genuine rejection is of the last one.
      if (this.next - 1 !== rejected) return false;
      this.next = Math.max(Math.min(rejected, hint + 1), this.match + 1);
      this.flowPaused = false;
    }
    this.lowerSentCommit();
    return true;
  }

  get paused(): boolean {
    return this.state === 'snapshot' || this.flowPaused;
  }

  private enter(state: ProgressState): void {
    this.state = state;
    this.flowPaused = false;
    this.pendingSnapshot = 0;
    this.inflights.reset();
  }

  private lowerSentCommit(): void {
    this.sentCommit = Math.min(this.sentCommit, this.next - 1);
  }
}
