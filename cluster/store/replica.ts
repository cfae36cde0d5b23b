import type { ActorRef, Logger, ReplyTo } from '../../actors/index.js';
import type { Entry, Message, PeerRefusal, PeerReplica, Snapshot, SoftState } from '../../machines/index.js';
import { EntryType } from '../../machines/index.js';
import type { Engine, WriteBatch } from '../../storage/index.js';
import {
  COMMAND_VERSION,
  decodeCommand,
  encodeCommand,
  type metapb,
  raft_cmdpb,
  raft_serverpb,
} from '../../storage/proto/index.js';
import type { troupepb } from '../proto/index.js';
import type { RaftEvent, RegionEvent } from '../protocol.js';
import { RaftGroup } from '../raft/group.js';
import type { ApplyEffects, CommandLog, LogDeletion, Outcome, StateMachine } from '../raft/state-machine.js';
import type { TaskQueue } from '../tasks.js';
import { ConsistencyCheck, InconsistentReplicaError } from './consistency.js';
import { type CommandResult, comparesAndSwaps, evaluate } from './evaluate.js';
import type { CompactedReplica } from './log-gc.js';
import type { ReadTurn } from './read-turn.js';
import { type CalledRegion, errorOf, RegionCall } from './region-call.js';
import { checkVersion, notLeader } from './region-check.js';
import { WriteTurn } from './write-turn.js';

const { AdminCmdType } = raft_cmdpb;
const NO_BYTES = new Uint8Array(0);

/** The way back of a replica that has forgotten everything. */
export interface PeerRecovery {
  take(message: Message): void;
  /** @returns false when the replica has to stop for it. */
  failed(error: Error): boolean;
  stop(): void;
}

export interface ReplicaOptions {
  readonly region: metapb.Region;
  readonly peer: metapb.Peer;
  readonly engine: Engine;
  readonly logger: Logger;
  readonly tasks: TaskQueue;
  readonly reads: ReadTurn;
  /** Bytes of one log entry. */
  readonly maxEntryBytes: number;
  /** This replica has writes to propose at the end of the turn. */
  readonly wantsTurn: (replica: RegionReplica) => void;
  /** This store's disk does not hold what it should. */
  readonly damaged: (error: Error) => void;
  /** The leader or this replica's role changed. */
  readonly roleChanged: (replica: RegionReplica) => void;
  /** Every batch that was applied and is visible, in order: where watches will attach. */
  readonly applied?: (
    region: metapb.Region,
    index: number,
    commands: readonly raft_cmdpb.RaftCmdRequest[],
  ) => void;
}

/**
 * What the peer machine acts on: one region's data and Raft group on this store. Raw commands are evaluated when they
 * are applied; epoch and key range are checked when a command is proposed and again when it is applied.
 */
export class RegionReplica
  implements PeerReplica<RaftEvent, RegionEvent>, StateMachine, CalledRegion, CompactedReplica
{
  readonly peer: metapb.Peer;
  readonly #options: ReplicaOptions;
  readonly #writes: WriteTurn;
  /** Commands that this replica proposed, by their encoding: what the log hands back need not be decoded. */
  readonly #proposed = new WeakMap<Uint8Array, raft_cmdpb.RaftCmdRequest>();
  readonly #consistency: ConsistencyCheck;
  #region: metapb.Region;
  #decoded: DecodedEntries | undefined;
  /** Commands of each evaluation whose changes are not visible yet. */
  readonly #unseen: (readonly raft_cmdpb.RaftCmdRequest[])[] = [];
  #group: CommandLog | undefined;
  /** On a repaired store, until it has its snapshot. */
  #recovery: PeerRecovery | undefined;
  #actor: ActorRef | undefined;

  constructor(options: ReplicaOptions) {
    this.#options = options;
    this.#region = options.region;
    this.peer = options.peer;
    this.#consistency = new ConsistencyCheck(options.region.id, options.engine, options.tasks);
    this.#writes = new WriteTurn(options.maxEntryBytes);
  }

  /** Joins the replica with the Raft group and the actor that were made for it. */
  attach(group: CommandLog, actor: ActorRef): void {
    this.#group = group;
    this.#actor = actor;
  }

  /** Has forgotten everything: what comes for it goes to `recovery` until it has a group. */
  recover(recovery: PeerRecovery, actor: ActorRef): void {
    this.#recovery = recovery;
    this.#actor = actor;
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

  get group(): CommandLog {
    if (this.#group === undefined)
      throw new Error(`the replica of region ${this.region.id} has no group yet`);
    return this.#group;
  }

  /** The region as this replica has applied it; replaced as a whole when it changes. */
  get region(): metapb.Region {
    return this.#region;
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

  peerOf(peerId: number): metapb.Peer | undefined {
    return this.region.peers.find((peer) => peer.id === peerId);
  }

  // The peer machine's actions.

  stepRaft(event: RaftEvent): void {
    if (event.toPeer.id !== this.peer.id) return;
    if (this.#group === undefined) this.#recovery?.take(event.message);
    else this.#group.step(event.message);
  }

  serveRead(event: RegionEvent): void {
    const call = this.#callOf(event);
    const error = this.#refusalOf(event);
    if (error !== undefined) return call.fail(error);
    this.group.read((outcome) => {
      if (outcome.ok) this.#options.reads.add(call, this);
      else call.refuse(outcome);
    });
  }

  proposeWrite(event: RegionEvent): void {
    const call = this.#callOf(event);
    const error = this.#refusalOf(event);
    if (error !== undefined) return call.fail(error);
    const first = this.#writes.isEmpty;
    const refused = this.#writes.add(call, this.region, () => this.proposeWrites());
    if (refused !== undefined) call.fail(refused);
    else if (first) this.#options.wantsTurn(this);
  }

  refuse(event: RegionEvent, reason: PeerRefusal): void {
    const { id } = this.region;
    const call = this.#callOf(event);
    if (reason === 'uninitialised') {
      call.fail(
        errorOf(`region ${id} is not ready on this store: ask another`, {
          regionNotInitialized: { regionId: id },
        }),
      );
    } else {
      call.fail(
        errorOf(`region ${id} has stopped on this store: ask another`, { regionNotFound: { regionId: id } }),
      );
    }
  }

  noteLogDeletion({ through, error }: LogDeletion): void {
    const details = { region: this.region.id, peer: this.peer.id, through };
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
    this.proposeWrites();
  }

  compactLog(index: number, term: number): void {
    this.proposeAdmin(
      { cmdType: AdminCmdType.CompactLog, compactLog: { compactIndex: index, compactTerm: term } },
      () => {},
    );
  }

  /** Every replica computes the hash of its data as the entry finds it. `done` gets the entry's index. */
  computeHash(done: (outcome: Outcome<number>) => void): void {
    this.proposeAdmin(
      { cmdType: AdminCmdType.ComputeHash, computeHash: { context: NO_BYTES } },
      done as (outcome: Outcome<unknown>) => void,
    );
  }

  /** A replica that found another hash at `index` stops. */
  verifyHash(index: number, hash: Uint8Array): void {
    this.proposeAdmin(
      { cmdType: AdminCmdType.VerifyHash, verifyHash: { index, hash, context: NO_BYTES } },
      () => {},
    );
  }

  /** Puts a command of the region itself into its log. */
  proposeAdmin(
    admin: Partial<raft_cmdpb.AdminRequest> & { readonly cmdType: raft_cmdpb.AdminCmdType },
    done: (outcome: Outcome<unknown>) => void,
  ): void {
    this.#propose([], raft_cmdpb.AdminRequest.from(admin), done);
  }

  /** At the end of a turn: the turn's writes become an entry. */
  proposeWrites(): void {
    if (this.#writes.isEmpty) return;
    const { requests, waiting } = this.#writes.take();
    if (requests.length === 0) {
      waiting.settle({
        ok: true,
        result: { regionError: undefined, swaps: undefined } satisfies CommandResult,
      });
      return;
    }
    this.#propose(requests, undefined, (outcome) => waiting.settle(outcome));
  }

  #propose(
    requests: readonly raft_cmdpb.Request[],
    adminRequest: raft_cmdpb.AdminRequest | undefined,
    done: (outcome: Outcome<unknown>) => void,
  ): void {
    const { id: regionId, regionEpoch } = this.region;
    const header = { regionId, peer: this.peer, regionEpoch, term: this.group.term };
    const command = { header, requests, adminRequest, version: COMMAND_VERSION };
    const data = encodeCommand(command);
    this.#proposed.set(data, command);
    this.group.propose(data, done);
  }

  // The replicated state machine.

  /** A hash is of the data as its entry finds it. */
  divide(entries: readonly Entry[]): readonly (readonly Entry[])[] | undefined {
    const decoded = this.#decodeOnce(entries);
    if (decoded === undefined || !decoded.commands.some(computesHash)) return undefined;
    const runs: Entry[][] = [];
    let last: Entry[] | undefined;
    for (const [i, entry] of entries.entries()) {
      const command = decoded.commands[decoded.placeOf[i] ?? -1];
      if (last === undefined || (command !== undefined && computesHash(command))) {
        last = [];
        runs.push(last);
      }
      last.push(entry);
    }
    return runs;
  }

  /** A compare-and-swap looks at what stands there. */
  needsReads(entries: readonly Entry[]): boolean {
    return this.#decodeOnce(entries)?.commands.some(comparesAndSwaps) ?? false;
  }

  apply(
    entries: readonly Entry[],
    batch: WriteBatch,
    effects: ApplyEffects,
  ): readonly unknown[] | Promise<readonly unknown[]> {
    // Everything is decoded before anything is changed: an entry that cannot be read must not leave half a batch.
    const { commands, placeOf } = this.#decodeOnce(entries) ?? this.#decode(entries);
    this.#decoded = undefined;
    const results = evaluate(commands, this.region, this.#options.engine, batch);
    this.#unseen.push(commands);
    const placed = (all: readonly CommandResult[]) =>
      placeOf.map((place, i) => {
        const admin = commands[place]?.adminRequest;
        return admin === undefined ? all[place] : this.#applyAdmin(admin, entries[i] as Entry, effects);
      });
    return results instanceof Promise ? results.then(placed) : placed(results);
  }

  /** @returns what the proposer is told. */
  #applyAdmin(admin: raft_cmdpb.AdminRequest, entry: Entry, effects: ApplyEffects): unknown {
    const { compactLog, verifyHash } = admin;
    switch (admin.cmdType) {
      case AdminCmdType.CompactLog:
        if (compactLog === undefined || compactLog.compactIndex >= entry.index) {
          throw new Error(`entry ${entry.index} cuts the log at or beyond itself`);
        }
        effects.truncateLog({ index: compactLog.compactIndex, term: compactLog.compactTerm });
        return undefined;
      case AdminCmdType.ComputeHash:
        this.#consistency.compute(entry.index, { start: this.region.startKey, end: this.region.endKey });
        return entry.index;
      case AdminCmdType.VerifyHash:
        if (verifyHash !== undefined) this.#consistency.verify(verifyHash.index, verifyHash.hash);
        return undefined;
      default:
        throw new Error(
          `entry ${entry.index} holds an admin command of kind ${admin.cmdType}, which this version cannot apply`,
        );
    }
  }

  restored({ data }: Snapshot): void {
    const { region } = raft_serverpb.RaftSnapshotData.decode(data);
    if (region !== undefined) this.#region = region;
    this.#actor?.tell({ type: 'snapshotInstalled' });
  }

  restoring(): void {
    this.#actor?.tell({ type: 'snapshotAccepted' });
  }

  logDeleted(deletion: LogDeletion): void {
    this.#actor?.tell({ type: 'logDeleted', ...deletion });
  }

  applied(index: number): void {
    const commands = this.#unseen.shift();
    if (commands !== undefined) this.#options.applied?.(this.region, index, commands);
  }

  roleChanged(_soft: SoftState, _term: number): void {
    this.#options.roleChanged(this);
  }

  failed(error: Error): void {
    if (this.#recovery?.failed(error)) return;
    if (error instanceof InconsistentReplicaError) this.#options.damaged(error);
    this.#options.logger.error(
      { err: error, region: this.region.id, peer: this.peer.id },
      'the peer stopped',
    );
    this.#actor?.tell({ type: 'broke', error });
  }

  #decode(entries: readonly Entry[]): DecodedEntries {
    const commands: raft_cmdpb.RaftCmdRequest[] = [];
    const placeOf = entries.map((entry) => {
      if (entry.data.length === 0) return -1;
      if (entry.type !== EntryType.normal) {
        throw new Error(`entry ${entry.index} changes the membership, which this version cannot apply`);
      }
      return commands.push(this.#commandOf(entry)) - 1;
    });
    return { entries, commands, placeOf };
  }

  /** `undefined` for entries that cannot be read: `apply` meets them again, where that may stop the peer. */
  #decodeOnce(entries: readonly Entry[]): DecodedEntries | undefined {
    if (this.#decoded?.entries === entries) return this.#decoded;
    try {
      this.#decoded = this.#decode(entries);
    } catch {
      return undefined;
    }
    return this.#decoded;
  }

  #commandOf({ data }: Entry): raft_cmdpb.RaftCmdRequest {
    const own = this.#proposed.get(data);
    if (own === undefined) return decodeCommand(data);
    this.#proposed.delete(data);
    return own;
  }

  #callOf(event: RegionEvent): RegionCall {
    const { replyTo } = event as RegionEvent & { readonly replyTo?: ReplyTo<troupepb.RegionResponses> };
    return new RegionCall(event, replyTo, this);
  }

  #refusalOf(event: RegionEvent) {
    const { peer, regionEpoch } = event.context;
    if (peer !== undefined && peer.storeId !== 0 && peer.storeId !== this.peer.storeId) {
      return errorOf(`this is store ${this.peer.storeId}, not ${peer.storeId}: look the store up again`, {
        storeNotMatch: { requestStoreId: peer.storeId, actualStoreId: this.peer.storeId },
      });
    }
    if (!this.group.isLeader) {
      this.raftGroup?.seekLeader();
      return notLeader(this.region, this.peerOf(this.group.leader));
    }
    return checkVersion(this.region, regionEpoch);
  }
}

function computesHash({ adminRequest }: raft_cmdpb.RaftCmdRequest): boolean {
  return adminRequest?.cmdType === AdminCmdType.ComputeHash;
}

interface DecodedEntries {
  readonly entries: readonly Entry[];
  readonly commands: readonly raft_cmdpb.RaftCmdRequest[];
  /** Per entry, the place of its command; -1 for one without. */
  readonly placeOf: readonly number[];
}
