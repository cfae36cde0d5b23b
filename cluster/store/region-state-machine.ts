import type { Entry, HardState } from '../../machines/index.js';
import {
  deleteRegionData,
  type Engine,
  isTxnKey,
  RaftLog,
  saveRegionState,
  type WriteBatch,
} from '../../storage/index.js';
import { type metapb, raft_cmdpb, raft_serverpb } from '../../storage/proto/index.js';
import type { errorpb } from '../proto/index.js';
import { INITIAL_LOG } from '../raft/initial-log.js';
import type { ApplyEffects, EntryRun } from '../raft/state-machine.js';
import { changePeers, confStateOf, peerOnStore } from './admin/change-peer.js';
import { checkEpoch, epochOf, epochRule } from './admin/epoch.js';
import { mergedRegion } from './admin/merge.js';
import { isRefusal, type Refusal } from './admin/refusal.js';
import { type SplitRegions, splitRegion } from './admin/split.js';
import type { ConsistencyCheck } from './consistency.js';
import { type EntryCommand, EntryCommands } from './entry-commands.js';
import {
  type CommandResult,
  comparesAndSwaps,
  evaluateCommand,
  Overlay,
  type SizeObserver,
} from './evaluate.js';
import { errorOf } from './region-errors.js';

const { AdminCmdType } = raft_cmdpb;
const { PeerState } = raft_serverpb;

/** What came of a command that changes the region itself. */
export interface AdminResult {
  readonly regionError?: errorpb.Error;
  readonly refusal?: Refusal;
  /** The region, or what it became. */
  readonly regions: readonly metapb.Region[];
}

/** A new region of a split, as this store finds it. */
export interface SplitPart {
  readonly region: metapb.Region;
  /** Term and vote of the peer that was here before the split; `undefined` for none. */
  readonly promised: HardState | undefined;
}

/** Which of a split's new regions get their peer here. */
export interface PreparedSplit {
  readonly parts: readonly SplitPart[];
  /** Their peers were here already, and went: what this store holds of their keys goes too. */
  readonly gone: readonly metapb.Region[];
}

/**
 * What the evaluation of a region's log needs of the store around it. What is told here is told when it is visible to reads,
 * but for the questions.
 */
export interface RegionSurroundings {
  /** A peer that waited for one of the new regions has stopped when this resolves. */
  prepareSplit(created: readonly metapb.Region[]): Promise<PreparedSplit>;
  split(split: SplitRegions, made: readonly SplitPart[]): void;
  membershipChanged(region: metapb.Region): void;
  /** The next entry removes this store's peer, and is not evaluated: the peer waits for its end. */
  removalReached(next: metapb.Region): void;
  mergePrepared(region: metapb.Region, state: raft_serverpb.MergeState): void;
  mergeRolledBack(region: metapb.Region): void;
  /** Resolves when the source's own log is evaluated through its PrepareMerge; `undefined` when it is. */
  sourceReady(merge: raft_cmdpb.CommitMergeRequest): Promise<void> | undefined;
  merged(region: metapb.Region, source: metapb.Region): void;
}

export interface RegionStateMachineOptions {
  readonly region: metapb.Region;
  readonly peerId: number;
  readonly storeId: number;
  readonly mergeState: raft_serverpb.MergeState | undefined;
  readonly engine: Engine;
  readonly consistency: ConsistencyCheck;
  readonly size: SizeObserver;
  /** A command was evaluated: bytes of keys and values, and number of keys. */
  readonly wrote: (bytes: number, keys: number) => void;
  readonly surroundings: RegionSurroundings;
}

interface Evaluated {
  readonly commands: readonly raft_cmdpb.RaftCmdRequest[];
  /** What follows when they are visible. */
  readonly followUps: readonly (() => void)[];
}

/**
 * A region as its log makes it: range, membership and merge, changed only by entries. Every command is checked again
 * when it is evaluated, against the region as the entries before it have left it.
 *
 * What an entry changes outside of its batch (who has which peers and ranges) follows when the batch is visible.
 */
export class RegionStateMachine {
  readonly #options: RegionStateMachineOptions;
  readonly #log: RaftLog;
  readonly commands = new EntryCommands();
  #region: metapb.Region;
  #mergeState: raft_serverpb.MergeState | undefined;
  /** Evaluations that are not visible yet, in their order. */
  readonly #unseen: Evaluated[] = [];
  #evaluating = false;
  #followUps: (() => void)[] = [];

  constructor(options: RegionStateMachineOptions) {
    this.#options = options;
    this.#region = options.region;
    this.#mergeState = options.mergeState;
    this.#log = new RaftLog(options.engine);
  }

  /** As the evaluated entries have it; replaced as a whole when it changes. */
  get region(): metapb.Region {
    return this.#region;
  }

  /** While the region waits to be merged into another: it takes nothing but a rollback. */
  get mergeState(): raft_serverpb.MergeState | undefined {
    return this.#mergeState;
  }

  /** Something is evaluated that is not visible yet: no snapshot can take its place. */
  get unsettled(): boolean {
    return this.#evaluating || this.#unseen.some(({ followUps }) => followUps.length > 0);
  }

  /** The region has changed, and that is not visible yet. */
  get changing(): boolean {
    return this.#unseen.some(({ followUps }) => followUps.length > 0);
  }

  /** A snapshot took the place of everything. A merge that was under way is over, or it would not have come. */
  restore(region: metapb.Region): void {
    this.#region = region;
    this.#mergeState = undefined;
  }

  divide(entries: readonly Entry[]): readonly EntryRun[] | undefined {
    return this.commands.divide(entries);
  }

  needsReads(entries: readonly Entry[]): boolean {
    return this.commands.needsReads(entries);
  }

  /**
   * A merge waits for its source; one that will be refused for nothing.
   *
   * Its own removal a peer does not carry out by its log. Those who stay may not know yet, or for good, that it is
   * committed; then they still need this peer's vote and its log: of two peers the other one could never lead again. So it
   * stays as it was before that, until it hears from somebody who has the region without it on disk.
   */
  awaits(entries: readonly Entry[]): Promise<void> | undefined {
    const first = this.commands.peek(entries)?.[0];
    const admin = first?.command.adminRequest;
    if (first === undefined || admin === undefined || this.#refused(first.command) !== undefined)
      return undefined;
    if (admin.commitMerge !== undefined) return this.#options.surroundings.sourceReady(admin.commitMerge);
    if (admin.changePeerV2 === undefined) return undefined;
    const next = changePeers(this.#region, admin.changePeerV2.changes);
    if (isRefusal(next) || next.peers.some(({ id }) => id === this.#options.peerId)) return undefined;
    this.#options.surroundings.removalReached(next);
    return new Promise(() => {});
  }

  apply(
    entries: readonly Entry[],
    batch: WriteBatch,
    effects: ApplyEffects,
  ): readonly unknown[] | Promise<readonly unknown[]> {
    // Everything is decoded before anything is changed: an entry that cannot be read must not leave half a batch.
    const commands = this.commands.take(entries);
    const split = commands[0]?.command.adminRequest?.splits;
    const swaps = commands.some((one) => one !== undefined && comparesAndSwaps(one.command));
    if (split === undefined && !swaps) return this.#evaluate(commands, batch, effects, undefined, undefined);
    this.#evaluating = true;
    return this.#evaluateReading(commands, batch, effects).finally(() => {
      this.#evaluating = false;
    });
  }

  /** The oldest evaluation is visible. @returns its commands */
  visible(): readonly raft_cmdpb.RaftCmdRequest[] {
    const evaluated = this.#unseen.shift();
    if (evaluated === undefined) return [];
    for (const follow of evaluated.followUps) follow();
    return evaluated.commands;
  }

  async #evaluateReading(
    commands: readonly (EntryCommand | undefined)[],
    batch: WriteBatch,
    effects: ApplyEffects,
  ): Promise<readonly unknown[]> {
    const overlay = await Overlay.of(
      commands.flatMap((one) => (one === undefined ? [] : [one.command])),
      this.#options.engine,
    );
    return this.#evaluate(commands, batch, effects, overlay, await this.#prepareSplit(commands[0]));
  }

  /** `undefined` when the split will be refused. */
  async #prepareSplit(first: EntryCommand | undefined): Promise<PreparedSplit | undefined> {
    const request = first?.command.adminRequest?.splits;
    if (first === undefined || request === undefined) return undefined;
    if (this.#refused(first.command) !== undefined) return undefined;
    const split = splitRegion(this.#region, request);
    return isRefusal(split) ? undefined : this.#options.surroundings.prepareSplit(split.created);
  }

  #evaluate(
    commands: readonly (EntryCommand | undefined)[],
    batch: WriteBatch,
    effects: ApplyEffects,
    overlay: Overlay | undefined,
    prepared: PreparedSplit | undefined,
  ): readonly unknown[] {
    this.#followUps = [];
    const { size, wrote } = this.#options;
    const results = commands.map((one) => {
      if (one === undefined) return undefined;
      if (one.command.adminRequest !== undefined) return this.#admin(one, batch, effects, prepared);
      if (isOvertaken(one)) return STALE;
      return evaluateCommand(one.command, this.#region, batch, overlay, size, wrote);
    });
    if (this.#followUps.length > 0) effects.hurry();
    this.#unseen.push({
      commands: commands.flatMap((one) => (one === undefined ? [] : [one.command])),
      followUps: this.#followUps,
    });
    return results;
  }

  /** Whether the region has moved on since the command was proposed. */
  #refused({ header, adminRequest }: raft_cmdpb.RaftCmdRequest): errorpb.Error | undefined {
    return checkEpoch(this.#region, header?.regionEpoch, epochRule(adminRequest));
  }

  #admin(
    { entry, command, change }: EntryCommand,
    batch: WriteBatch,
    effects: ApplyEffects,
    prepared: PreparedSplit | undefined,
  ): unknown {
    const admin = command.adminRequest as raft_cmdpb.AdminRequest;
    const regionError = this.#refused(command);
    if (regionError !== undefined) return { regionError, regions: [] } satisfies AdminResult;
    const { compactLog, verifyHash } = admin;
    switch (admin.cmdType) {
      case AdminCmdType.CompactLog:
        if (compactLog === undefined || compactLog.compactIndex >= entry.index) {
          throw new Error(`entry ${entry.index} cuts the log at or beyond itself`);
        }
        // What is to be merged may need the end of its log for replicas that lack it.
        if (this.#mergeState === undefined)
          effects.truncateLog({ index: compactLog.compactIndex, term: compactLog.compactTerm });
        return undefined;
      case AdminCmdType.ComputeHash:
        this.#options.consistency.compute(entry.index, {
          start: this.#region.startKey,
          end: this.#region.endKey,
        });
        return entry.index;
      case AdminCmdType.VerifyHash:
        if (verifyHash !== undefined) this.#options.consistency.verify(verifyHash.index, verifyHash.hash);
        return undefined;
      case AdminCmdType.ChangePeerV2:
        return this.#changePeers(admin.changePeerV2?.changes ?? [], change, entry, batch, effects);
      case AdminCmdType.BatchSplit:
        return this.#split(admin.splits, prepared, batch);
      case AdminCmdType.PrepareMerge:
        return this.#prepareMerge(admin.prepareMerge, entry, batch);
      case AdminCmdType.CommitMerge:
        return this.#commitMerge(admin.commitMerge, batch, effects);
      case AdminCmdType.RollbackMerge:
        return this.#rollbackMerge(admin.rollbackMerge, batch);
      default:
        throw new Error(
          `entry ${entry.index} holds an admin command of kind ${admin.cmdType}, which this version cannot apply`,
        );
    }
  }

  #changePeers(
    changes: readonly raft_cmdpb.ChangePeerRequest[],
    change: EntryCommand['change'],
    entry: Entry,
    batch: WriteBatch,
    effects: ApplyEffects,
  ): AdminResult {
    if (change === undefined)
      throw new Error(`entry ${entry.index} changes the membership without Raft's knowledge`);
    const next = changePeers(this.#region, changes);
    if (isRefusal(next)) return { refusal: next, regions: [this.#region] };
    effects.changeMembership(change);
    this.#region = next;
    this.#save(batch);
    this.#followUps.push(() => this.#options.surroundings.membershipChanged(next));
    return { regions: [next] };
  }

  #split(
    request: raft_cmdpb.BatchSplitRequest | undefined,
    prepared: PreparedSplit | undefined,
    batch: WriteBatch,
  ): AdminResult {
    if (request === undefined) throw new Error('a split without its keys');
    const split = splitRegion(this.#region, request);
    if (isRefusal(split)) return { refusal: split, regions: [this.#region] };
    if (prepared === undefined) throw new Error(`the split of region ${this.#region.id} was not prepared`);
    const { parts, gone } = prepared;
    for (const { region, promised } of parts) {
      saveRegionState(batch, region.id, {
        state: PeerState.Normal,
        region,
        peerId: peerOnStore(region, this.#options.storeId)?.id ?? 0,
      });
      this.#log.create(batch, region.id, INITIAL_LOG, confStateOf(region), promised);
    }
    for (const { startKey, endKey } of gone) deleteRegionData(batch, { start: startKey, end: endKey });
    this.#region = split.own;
    this.#save(batch);
    this.#followUps.push(() => this.#options.surroundings.split(split, parts));
    return { regions: split.parts };
  }

  #prepareMerge(
    request: raft_cmdpb.PrepareMergeRequest | undefined,
    entry: Entry,
    batch: WriteBatch,
  ): AdminResult {
    if (request?.target === undefined) throw new Error('a merge without its target');
    const { confVer, version } = epochOf(this.#region);
    const state = { minIndex: request.minIndex, target: request.target, commit: entry.index };
    const region = { ...this.#region, regionEpoch: { confVer: confVer + 1, version: version + 1 } };
    this.#region = region;
    this.#mergeState = state;
    this.#save(batch);
    this.#followUps.push(() => this.#options.surroundings.mergePrepared(region, state));
    return { regions: [region] };
  }

  #commitMerge(
    request: raft_cmdpb.CommitMergeRequest | undefined,
    batch: WriteBatch,
    effects: ApplyEffects,
  ): AdminResult {
    const source = request?.source;
    if (source === undefined) throw new Error('a merge without its source');
    const target = this.#region;
    const { storeId, surroundings } = this.#options;
    const region = mergedRegion(target, source);
    this.#region = region;
    this.#save(batch);
    effects.destroy({
      group: source.id,
      // The data stays: it is the target's now.
      add: (last) => bury(last, source, peerOnStore(source, storeId)?.id ?? 0, target),
      done: () => {},
    });
    this.#followUps.push(() => surroundings.merged(region, source));
    return { regions: [region] };
  }

  #rollbackMerge(request: raft_cmdpb.RollbackMergeRequest | undefined, batch: WriteBatch): AdminResult {
    if (this.#mergeState === undefined || this.#mergeState.commit !== request?.commit) {
      throw new Error(`region ${this.#region.id} is in no merge that began at ${request?.commit}`);
    }
    const { confVer, version } = epochOf(this.#region);
    const region = { ...this.#region, regionEpoch: { confVer, version: version + 1 } };
    this.#region = region;
    this.#mergeState = undefined;
    this.#save(batch);
    this.#followUps.push(() => this.#options.surroundings.mergeRolledBack(region));
    return { regions: [region] };
  }

  #save(batch: WriteBatch): void {
    saveRegionState(batch, this.#region.id, {
      state: this.#mergeState === undefined ? PeerState.Normal : PeerState.Merging,
      region: this.#region,
      mergeState: this.#mergeState,
      peerId: this.#options.peerId,
    });
  }
}

/**
 * What a leader has evaluated is void under another one. Raw commands are evaluated here, and may come in any term; no command
 * is for both spaces.
 */
function isOvertaken({ entry, command: { header, requests } }: EntryCommand): boolean {
  const [first] = requests;
  const key = first?.put?.key ?? first?.delete?.key;
  return key !== undefined && isTxnKey(key) && header?.term !== entry.term;
}

const STALE: CommandResult = {
  regionError: errorOf(
    'another leader took the place of the one that evaluated this command: send it again',
    {
      staleCommand: {},
    },
  ),
  swaps: undefined,
};

/** What is left of a peer: its id and its region, so that stale messages are known for what they are. */
export function bury(
  batch: WriteBatch,
  region: metapb.Region,
  peerId: number,
  mergedInto?: metapb.Region,
): void {
  saveRegionState(batch, region.id, {
    state: PeerState.Tombstone,
    region,
    mergeState: mergedInto === undefined ? undefined : { minIndex: 0, target: mergedInto, commit: 0 },
    peerId,
  });
}
