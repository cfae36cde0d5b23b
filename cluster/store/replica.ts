import type { Span } from '@opentelemetry/api';
import type { ActorRef, Logger } from '../../actors/index.js';
import type {
  ConfChange,
  Entry,
  Message,
  PeerRefusal,
  PeerReplica,
  RaftError,
  Snapshot,
  SoftState,
} from '../../machines/index.js';
import type { Engine, WriteBatch } from '../../storage/index.js';
import { type metapb, raft_cmdpb, raft_serverpb } from '../../storage/proto/index.js';
import type { errorpb } from '../proto/index.js';
import type { RaftEvent, RegionEvent } from '../protocol.js';
import { RaftGroup } from '../raft/group.js';
import type { CompactedReplica } from '../raft/log-gc.js';
import type { ApplyEffects, CommandLog, LogDeletion, Outcome, StateMachine } from '../raft/state-machine.js';
import type { TaskQueue } from '../tasks.js';
import { PeerSpans } from '../tracing/peer-spans.js';
import type { StoreTracing } from '../tracing/store-tracing.js';
import { epochOf } from './admin/epoch.js';
import { ConsistencyCheck, InconsistentReplicaError } from './consistency.js';
import { Correspondents } from './correspondents.js';
import { GarbageHint } from './garbage-hint.js';
import type { ReadTurn } from './read-turn.js';
import { type CalledRegion, type RegionCall, withSiblings } from './region-call.js';
import {
  type ChangedRegion,
  type ChangeRegionEvent,
  RegionChanges,
  type RegionChangesOptions,
} from './region-changes.js';
import { peerRefused } from './region-errors.js';
import type { FlowCount } from './region-flow.js';
import { RegionLeadership } from './region-leadership.js';
import { RegionProposals } from './region-proposals.js';
import { RegionService } from './region-service.js';
import { RegionStateMachine, type RegionSurroundings } from './region-state-machine.js';
import type { RequestTimes } from './request-times.js';
import type { RegionSize } from './split/index.js';
import type { StoreTxn, TxnRegion } from './txn/index.js';

const { AdminCmdType } = raft_cmdpb;

/** The way back of a replica that has forgotten everything. */
export interface PeerRecovery {
  take(message: Message): void;
  /** @returns false when the replica has to stop for it. */
  failed(error: Error): boolean;
  stop(): void;
}

export interface ReplicaOptions {
  /** Without peers for one that does not know its region yet. */
  readonly region: metapb.Region;
  readonly peer: metapb.Peer;
  /** As its disk has it. */
  readonly mergeState?: raft_serverpb.MergeState | undefined;
  readonly engine: Engine;
  readonly logger: Logger;
  readonly tasks: TaskQueue;
  readonly reads: ReadTurn;
  readonly txn: StoreTxn;
  /** Bytes of one log entry. */
  readonly maxEntryBytes: number;
  readonly size: RegionSize;
  readonly flow: FlowCount;
  /** Of all clients' requests to this store. */
  readonly requestTimes: RequestTimes;
  readonly changes: RegionChangesOptions;
  readonly surroundings: (replica: RegionReplica) => RegionSurroundings;
  /** Regions of this store that came of the same split as this one. */
  readonly siblings: (region: metapb.Region) => readonly metapb.Region[];
  /** Absent where nobody takes spans. */
  readonly tracing?: StoreTracing | undefined;
  /** A message came from a peer of this store. */
  readonly heard: (storeId: number) => void;
  /** The sender is no member any more; it is told. */
  readonly refusesSender: (replica: RegionReplica, event: RaftEvent) => boolean;
  /** Whether this store has room for what a snapshot brings; takes its range for it when the core takes it in. */
  readonly takesSnapshot: (replica: RegionReplica, region: metapb.Region, step: () => boolean) => void;
  /** This replica has writes to propose at the end of the turn. */
  readonly wantsTurn: (replica: RegionReplica) => void;
  /** A call was refused because too much was under way. */
  readonly refusedAsBusy: () => void;
  /** This store's disk does not hold what it should. */
  readonly damaged: (error: Error) => void;
  /** The leader or this replica's role changed. */
  readonly roleChanged: (replica: RegionReplica) => void;
  /** The core has taken a snapshot in. */
  readonly restoring: (replica: RegionReplica, region: metapb.Region) => void;
  /** A snapshot's data is in place. */
  readonly restored: (replica: RegionReplica) => void;
  /** Every batch that was applied and is visible, in order: where watches will attach. */
  readonly applied?: (
    region: metapb.Region,
    index: number,
    commands: readonly raft_cmdpb.RaftCmdRequest[],
  ) => void;
}

/**
 * What the peer machine acts on: one region's data and Raft group on this store. Raw commands are evaluated when they
 * are applied, transactional ones on the leader before they are proposed; epoch and key range are checked when a command is proposed and again when it is applied.
 */
export class RegionReplica
  implements
    PeerReplica<RaftEvent, RegionEvent>,
    StateMachine,
    CalledRegion,
    CompactedReplica,
    ChangedRegion,
    TxnRegion
{
  /** What is known of old versions in the region. */
  readonly garbage = new GarbageHint();
  /** Its own id, whatever the region says. */
  readonly peerId: number;
  readonly #options: ReplicaOptions;
  readonly #proposals: RegionProposals;
  readonly #service: RegionService;
  /** Absent where nobody takes spans. */
  readonly #spans: PeerSpans | undefined;
  readonly #consistency: ConsistencyCheck;
  readonly #machine: RegionStateMachine;
  readonly leadership = new RegionLeadership(this);
  readonly changes: RegionChanges;
  /** Of its data, as far as known. */
  readonly size: RegionSize;
  /** What is written and read while this replica leads. */
  readonly flow: FlowCount;
  readonly #correspondents = new Correspondents();
  /** While it knows no region: the newest membership of those who spoke to it as one of their members. */
  #namedAt = 0;
  #peer: metapb.Peer;
  #group: CommandLog | undefined;
  /** On a repaired store, until it has its snapshot. */
  #recovery: PeerRecovery | undefined;
  #actor: ActorRef | undefined;

  constructor(options: ReplicaOptions) {
    this.#options = options;
    this.#peer = options.peer;
    this.size = options.size;
    this.flow = options.flow;
    this.peerId = options.peer.id;
    this.#consistency = new ConsistencyCheck(options.region.id, options.engine, options.tasks);
    this.#machine = new RegionStateMachine({
      ...options,
      peerId: options.peer.id,
      storeId: options.peer.storeId,
      mergeState: options.mergeState,
      wrote: (bytes, keys) => {
        if (this.#group?.isLeader) this.flow.wrote(bytes, keys);
      },
      consistency: this.#consistency,
      surroundings: options.surroundings(this),
    });
    this.changes = new RegionChanges(this, options.changes);
    this.#spans = options.tracing && new PeerSpans(options.tracing, this);
    this.#proposals = new RegionProposals(this, {
      maxEntryBytes: options.maxEntryBytes,
      commands: this.#machine.commands,
      wantsTurn: () => options.wantsTurn(this),
      spans: this.#spans,
    });
    const { reads, txn, requestTimes } = options;
    this.#service = new RegionService(this, {
      storeId: options.peer.storeId,
      reads,
      txn,
      proposals: this.#proposals,
      requestTimes,
      spans: this.#spans,
    });
  }

  /** Joins the replica with the Raft group and the actor that were made for it. */
  attach(group: CommandLog, actor: ActorRef): void {
    this.#group = group;
    this.#actor = actor;
  }

  /** Has forgotten everything: what comes for it goes to `recovery` until it has a group. */
  recover(recovery: PeerRecovery, spawn: (replica: this) => ActorRef): void {
    this.#recovery = recovery;
    this.#actor = spawn(this);
  }

  /** The group that a recovering replica is restored with, or none again. */
  set restoredGroup(group: CommandLog | undefined) {
    this.#group = group;
  }

  /** It is like any other from now on. */
  recovered(): void {
    this.#recovery = undefined;
  }

  /** False until its Raft group is there: it stands in the store's map from the start, so that it is made once. */
  get attached(): boolean {
    return this.#group !== undefined;
  }

  /** It has its region; else it waits for a snapshot. */
  get initialised(): boolean {
    return this.region.peers.length > 0 && this.#recovery === undefined;
  }

  get group(): CommandLog {
    if (this.#group === undefined)
      throw new Error(`the replica of region ${this.region.id} has no group yet`);
    return this.#group;
  }

  /** The region as this replica has evaluated it; replaced as a whole when it changes. */
  get region(): metapb.Region {
    return this.#machine.region;
  }

  /** The newest version of the membership that is known to name this peer. */
  get namedAt(): number {
    return this.initialised ? epochOf(this.region).confVer : this.#namedAt;
  }

  /** While the region waits to be merged into another. */
  get mergeState(): raft_serverpb.MergeState | undefined {
    return this.#machine.mergeState;
  }

  /** Its own peer, in its role. */
  get peer(): metapb.Peer {
    const known = this.#peer;
    const named = this.peerOf(this.peerId);
    if (named !== undefined && named !== known) this.#peer = named;
    return this.#peer;
  }

  get raftGroup(): RaftGroup | undefined {
    return this.#group instanceof RaftGroup ? this.#group : undefined;
  }

  /** This replica's hash of the latest consistency check. */
  get consistency(): ConsistencyCheck {
    return this.#consistency;
  }

  get stopped(): boolean {
    return this.#group?.stopped ?? false;
  }

  /** Something is evaluated that is not visible yet. */
  get unsettled(): boolean {
    return this.#machine.unsettled;
  }

  peerOf(peerId: number): metapb.Peer | undefined {
    return this.region.peers.find((peer) => peer.id === peerId);
  }

  siblings(): readonly metapb.Region[] {
    return this.#options.siblings(this.region);
  }

  refusedAsBusy(): void {
    this.#options.refusedAsBusy();
  }

  /** A peer that a message may go to: a member, or one that has spoken to this one. */
  addressee(peerId: number): metapb.Peer | undefined {
    return this.peerOf(peerId) ?? this.#correspondents.of(peerId);
  }

  /** Tells the peer's machine. */
  tell(event: { readonly type: string }): void {
    this.#actor?.tell(event);
  }

  // The peer machine's actions.

  stepRaft(event: RaftEvent): void {
    this.#options.heard(event.fromPeer.storeId);
    if (event.toPeer.id !== this.peerId || this.#options.refusesSender(this, event)) return;
    this.#correspondents.meet(event.fromPeer, this.peerOf(event.fromPeer.id) !== undefined);
    if (!this.initialised) this.#namedAt = Math.max(this.#namedAt, event.regionEpoch.confVer);
    if (this.#group === undefined) {
      this.#recovery?.take(event.message);
      return;
    }
    this.#spans?.arrived(event);
    const { raftGroup: group } = this;
    const { snapshot } = event.message;
    if (group === undefined || snapshot === undefined) return this.#group.step(event.message);
    // What was evaluated and is not visible yet has to be told first.
    if (this.#machine.unsettled) return;
    const { region } = raft_serverpb.RaftSnapshotData.decode(snapshot.data);
    if (region === undefined) return;
    this.#options.takesSnapshot(this, region, () => {
      group.step(event.message);
      return group.raft.pendingSnapshot === snapshot;
    });
  }

  serveRead(event: RegionEvent): void {
    this.#service.read(event);
  }

  readAgain(call: RegionCall): void {
    this.#service.readAgain(call);
  }

  proposeWrite(event: RegionEvent): void {
    this.#service.write(event);
  }

  changeRegion(event: ChangeRegionEvent): void {
    this.changes.request(event, ({ regionError, refusal, regions }) =>
      event.replyTo?.send({
        regionError: regionError && withSiblings(regionError, this),
        refusal,
        regions: [...regions],
      }),
    );
  }

  refuse(event: RegionEvent, reason: PeerRefusal): void {
    this.#service.refuse(event, reason);
  }

  refuseChange(event: ChangeRegionEvent, reason: PeerRefusal): void {
    event.replyTo?.send({
      regionError: peerRefused(this.region, reason),
      refusal: undefined,
      regions: [],
    });
  }

  noteLogDeletion({ through, error }: LogDeletion): void {
    const details = { region: this.region.id, peer: this.peerId, through };
    const { logger } = this.#options;
    if (error === undefined) logger.debug(details, 'log entries were deleted');
    else
      logger.warn(
        { ...details, err: error },
        'log entries could not be deleted: the next compaction tries again',
      );
  }

  stop(): void {
    this.#group?.stop();
    this.#recovery?.stop();
    this.#consistency.stop();
    this.changes.pending.clear();
    this.proposeWrites();
    this.#options.txn.writes.leave(this, { ok: false, code: 'stopped', leader: 0 });
  }

  compactLog(index: number, term: number): void {
    // It would be evaluated as nothing.
    if (this.mergeState !== undefined) return;
    this.proposeAdmin(
      { cmdType: AdminCmdType.CompactLog, compactLog: { compactIndex: index, compactTerm: term } },
      () => {},
    );
  }

  proposeAdmin(
    admin: Partial<raft_cmdpb.AdminRequest> & { readonly cmdType: raft_cmdpb.AdminCmdType },
    done: (outcome: Outcome<unknown>) => void,
  ): void {
    this.#proposals.proposeAdmin(admin, done);
  }

  proposeMembership(
    admin: Partial<raft_cmdpb.AdminRequest> & { readonly cmdType: raft_cmdpb.AdminCmdType },
    change: ConfChange,
    done: (outcome: Outcome<unknown>) => void,
  ): RaftError | undefined {
    return this.#proposals.proposeMembership(admin, change, done);
  }

  /** At the end of a turn: the turn's writes become an entry. */
  proposeWrites(): void {
    this.#proposals.endTurn();
  }

  // Transactions.

  refusalOf(event: RegionEvent): errorpb.Error | undefined {
    return this.#service.refusalOf(event);
  }

  get isCurrent(): boolean {
    if (this.#machine.changing || !this.group.isLeader) return false;
    return this.raftGroup?.appliedInTerm ?? true;
  }

  proposeChanges(
    requests: readonly raft_cmdpb.Request[],
    term: number,
    done: (outcome: Outcome<unknown>) => void,
    visible: () => void,
    spans?: () => readonly Span[] | undefined,
  ): void {
    this.#proposals.proposeChanges(requests, term, done, visible, spans);
  }

  // The replicated state machine.

  divide(entries: readonly Entry[]) {
    return this.#machine.divide(entries);
  }

  needsReads(entries: readonly Entry[]): boolean {
    return this.#machine.needsReads(entries);
  }

  awaits(entries: readonly Entry[]): Promise<void> | undefined {
    return this.#machine.awaits(entries);
  }

  apply(
    entries: readonly Entry[],
    batch: WriteBatch,
    effects: ApplyEffects,
  ): readonly unknown[] | Promise<readonly unknown[]> {
    const results = this.#machine.apply(entries, batch, effects);
    if (!(results instanceof Promise)) return this.#evaluated(entries, results);
    return results.then((all) => this.#evaluated(entries, all));
  }

  #evaluated(entries: readonly Entry[], results: readonly unknown[]): readonly unknown[] {
    this.changes.pending.applied(entries.at(-1)?.index ?? 0);
    return results;
  }

  restored({ data }: Snapshot): void {
    const { region } = raft_serverpb.RaftSnapshotData.decode(data);
    if (region !== undefined) this.#machine.restore(region);
    this.size.unknown();
    this.garbage.forget();
    this.#options.restored(this);
    this.#actor?.tell({ type: 'snapshotInstalled' });
  }

  restoring({ data }: Snapshot): void {
    const { region } = raft_serverpb.RaftSnapshotData.decode(data);
    if (region !== undefined) this.#options.restoring(this, region);
    this.#actor?.tell({ type: 'snapshotAccepted' });
  }

  logDeleted(deletion: LogDeletion): void {
    this.#actor?.tell({ type: 'logDeleted', ...deletion });
  }

  applied(index: number): void {
    const commands = this.#machine.visible();
    for (const { requests } of commands) this.garbage.noteApplied(requests);
    if (commands.length > 0) this.#options.applied?.(this.region, index, commands);
    this.#spans?.applied(index);
    this.#options.txn.writes.applied(this);
  }

  roleChanged({ role, lead: leader }: SoftState, _term: number): void {
    if (role !== 'leader') {
      this.changes.pending.clear();
      this.#options.txn.writes.leave(this, { ok: false, code: 'not-leader', leader });
    }
    this.#options.roleChanged(this);
  }

  failed(error: Error): void {
    if (this.#recovery?.failed(error)) return;
    if (error instanceof InconsistentReplicaError) this.#options.damaged(error);
    this.#options.logger.error({ err: error, region: this.region.id, peer: this.peerId }, 'the peer stopped');
    this.#actor?.tell({ type: 'broke', error });
  }
}
