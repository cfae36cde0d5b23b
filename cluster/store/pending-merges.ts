import type { Clock, Logger, TimerHandle } from '../../actors/index.js';
import type { RaftLog } from '../../storage/index.js';
import { metapb, raft_cmdpb, raft_serverpb } from '../../storage/proto/index.js';
import { peerOnStore, votersOf } from './admin/change-peer.js';
import { epochOf, epochRule, isEpochStale } from './admin/epoch.js';
import type { PeerMessages } from './peer-messages.js';
import type { RegionReplica } from './replica.js';
import type { StoreMeta } from './store-meta.js';

const { AdminCmdType } = raft_cmdpb;
const { ExtraMessageType } = raft_serverpb;
const ROLLBACK = raft_cmdpb.AdminRequest.from({ cmdType: AdminCmdType.RollbackMerge });

export interface PendingMergesParts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly log: RaftLog;
  readonly meta: StoreMeta;
  readonly messages: PeerMessages;
  readonly replicas: ReadonlyMap<number, RegionReplica>;
  /** Milliseconds between two attempts (TiKV's `merge-check-tick-interval`). */
  readonly interval: number;
}

/** A source on this store, and who wants its merge taken back: counted by its leader. */
interface PendingMerge {
  readonly replica: RegionReplica;
  readonly unwilling: Set<number>;
  /** The source's log is being read. */
  reading: boolean;
}

type Verdict = 'go' | 'wait' | 'fail';

/**
 * Regions of this store that wait to be merged. Every peer of a source, not only its leader, asks the target's peer beside
 * it: the target's leader has one of them beside it, wherever it is. When most of the source's peers find that the target
 * has changed, no quorum of the target's can take the source in any more, and the merge is taken back. A source's leader beside
 * other voters also finds so where a member needs a snapshot.
 */
export class PendingMerges {
  readonly #parts: PendingMergesParts;
  readonly #pending = new Map<number, PendingMerge>();
  #timer: TimerHandle | undefined;
  #stopped = false;

  constructor(parts: PendingMergesParts) {
    this.#parts = parts;
  }

  /** The source's PrepareMerge is applied, or was before this start. */
  add(replica: RegionReplica): void {
    if (replica.mergeState?.target === undefined) return;
    const { id } = replica.region;
    this.#parts.meta.noteMerge({ source: id, target: replica.mergeState.target, done: false });
    this.#pending.set(id, { replica, unwilling: new Set(), reading: false });
    this.#try(id);
    this.#arm();
  }

  /** Whether a source here waits for this region: what became of it must not be forgotten. */
  awaits(target: number): boolean {
    for (const { replica } of this.#pending.values()) {
      if (replica.mergeState?.target?.id === target) return true;
    }
    return false;
  }

  /** It was merged, or it is not going to be. */
  remove(source: number): void {
    this.#pending.delete(source);
    this.#parts.meta.mergeIsOver(source);
  }

  stop(): void {
    this.#stopped = true;
    if (this.#timer !== undefined) this.#parts.clock.clearTimeout(this.#timer);
  }

  /** A peer of the source on another store finds that its merge cannot be. */
  wantsRollback(source: number, peer: number, commit: number): void {
    const pending = this.#pending.get(source);
    if (pending === undefined || pending.replica.mergeState?.commit !== commit) return;
    this.#note(pending, peer);
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#stopped || this.#pending.size === 0) return;
    this.#timer = this.#parts.clock.setTimeout(() => {
      this.#timer = undefined;
      for (const source of [...this.#pending.keys()]) this.#try(source);
      this.#arm();
    }, this.#parts.interval);
  }

  #try(source: number): void {
    const pending = this.#pending.get(source);
    const { replica } = pending ?? {};
    const state = replica?.mergeState;
    if (pending === undefined || replica === undefined || state?.target === undefined || replica.stopped)
      return;
    const verdict = this.#judge(pending, state.target);
    if (verdict === 'go') void this.#propose(pending, state);
    else if (verdict === 'fail') this.#unwilling(pending, state.commit);
  }

  #judge({ replica }: PendingMerge, expected: metapb.Region): Verdict {
    const { meta, logger } = this.#parts;
    const local = meta.region(expected.id);
    if (local === undefined) {
      const tombstone = meta.tombstone(expected.id);
      // Its peer was removed, or was merged away itself: it takes nobody in any more.
      const peer = peerOnStore(expected, replica.peer.storeId);
      if (tombstone !== undefined && tombstone.peer >= (peer?.id ?? Number.POSITIVE_INFINITY)) return 'fail';
      logger.debug({ region: replica.region.id, target: expected.id }, 'the target of a merge is not here');
      return 'wait';
    }
    if (isEpochStale(epochOf(expected), epochOf(local))) return 'fail';
    const members = [...(replica.raftGroup?.status().progress.values() ?? [])];
    // Who needs a snapshot cannot be given the end of the log with the merge. That alone takes nothing back: a target may be
    // about to take the source in, and where there is another voter, that one says whether it may still.
    if (members.some(({ state }) => state === 'snapshot'))
      return votersOf(replica.region).length > 1 ? 'fail' : 'wait';
    return isEpochStale(epochOf(local), epochOf(expected)) ? 'wait' : 'go';
  }

  /** Only the target's leader can propose; asked twice, it takes the source in once: its epoch moves. */
  async #propose(
    pending: PendingMerge,
    { minIndex, commit, target }: raft_serverpb.MergeState,
  ): Promise<void> {
    const { replicas, logger, log } = this.#parts;
    const { replica } = pending;
    const taker = target && replicas.get(target.id);
    if (pending.reading || target === undefined || !taker?.attached || !taker.group.isLeader) return;
    const { raftGroup: group, region } = replica;
    if (group === undefined) return;
    // Its leader knows how far the members have come meanwhile.
    const matches = [...group.status().progress.values()].map(({ match }) => match);
    const low = matches.length > 0 ? Math.max(minIndex, Math.min(...matches) + 1) : minIndex;
    pending.reading = true;
    try {
      const held = low > commit ? [] : group.raft.heldEntries(low, commit + 1);
      const missing = held ?? (await log.fetch(region.id, low, commit + 1, Number.POSITIVE_INFINITY));
      const entries = missing.map(({ type, ...entry }) => ({ ...entry, entryType: type }));
      taker.changes.commitMerge({ source: region, commit, entries }, epochOf(target), () => {});
    } catch (error) {
      logger.debug({ err: error, region: region.id }, 'the log of a region that is merged could not be read');
    } finally {
      pending.reading = false;
    }
  }

  #unwilling(pending: PendingMerge, commit: number): void {
    const { replica } = pending;
    const { messages } = this.#parts;
    const { region, peer, group } = replica;
    if (peer.role !== metapb.PeerRole.Voter) return;
    if (group.isLeader) return this.#note(pending, peer.id);
    const leader = replica.peerOf(group.leader);
    if (leader === undefined) return;
    messages.notify(region, peer, leader, {
      extraMsg: raft_serverpb.ExtraMessage.from({
        type: ExtraMessageType.MsgWantRollbackMerge,
        index: commit,
      }),
    });
  }

  #note(pending: PendingMerge, peer: number): void {
    const { replica, unwilling } = pending;
    const { raftGroup: group, mergeState } = replica;
    const voters = votersOf(replica.region);
    if (group === undefined || mergeState === undefined || !group.isLeader) return;
    if (!voters.some(({ id }) => id === peer)) return;
    unwilling.add(peer);
    if (2 * unwilling.size <= voters.length) return;
    if (replica.changes.admits(epochRule(ROLLBACK), () => {}))
      replica.changes.rollbackMerge(mergeState.commit, () => {});
  }
}
