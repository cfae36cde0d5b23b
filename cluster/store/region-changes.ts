import type { ReplyTo } from '../../actors/index.js';
import type { RaftError } from '../../machines/index.js';
import { eraftpb, metapb, raft_cmdpb } from '../../storage/proto/index.js';
import type { troupepb } from '../proto/index.js';
import type { RaftGroup } from '../raft/group.js';
import type { Outcome } from '../raft/state-machine.js';
import { changePeers, peerOnStore, raftChange, refuseMembership } from './admin/change-peer.js';
import { checkEpoch, type EpochRule, epochRule, PendingEpochChanges } from './admin/epoch.js';
import { refuseMerge } from './admin/merge.js';
import { refuseGap } from './admin/merge-gap.js';
import { isRefusal, notNow, type Refusal, refusal } from './admin/refusal.js';
import { refuseSplitKeys, refuseTornKeys, splitRegion } from './admin/split.js';
import { errorOf, mergingError, notLeader } from './region-errors.js';
import type { RegionLeadership } from './region-leadership.js';
import type { AdminResult } from './region-state-machine.js';

const { AdminCmdType } = raft_cmdpb;

export type ChangeRegionEvent = troupepb.ChangeRegionRequest & {
  readonly replyTo?: ReplyTo<troupepb.ChangeRegionResponse>;
};

export type ChangeDone = (result: AdminResult) => void;

/** The region whose leader is asked, as far as its changes need it. */
export interface ChangedRegion {
  readonly region: metapb.Region;
  readonly mergeState: unknown;
  readonly raftGroup: RaftGroup | undefined;
  readonly leadership: RegionLeadership;
  peerOf(peerId: number): metapb.Peer | undefined;
  /** Tells the peer's machine. */
  tell(event: { readonly type: 'splitProposed' | 'splitEnded' }): void;
  /** Puts an admin command into the log. */
  proposeAdmin(
    admin: Partial<raft_cmdpb.AdminRequest> & { readonly cmdType: raft_cmdpb.AdminCmdType },
    done: (outcome: Outcome<unknown>) => void,
  ): void;
  /** The same for a membership change. @returns why Raft refuses it */
  proposeMembership(
    admin: Partial<raft_cmdpb.AdminRequest> & { readonly cmdType: raft_cmdpb.AdminCmdType },
    change: ReturnType<typeof raftChange>,
    done: (outcome: Outcome<unknown>) => void,
  ): RaftError | undefined;
}

export interface RegionChangesOptions {
  /** Consecutive ids from the scheduler. */
  readonly allocateIds: (count: number) => Promise<number>;
  /** Ids for the parts of a split. */
  readonly askSplitIds: (region: metapb.Region, parts: number) => Promise<readonly raft_cmdpb.SplitRequest[]>;
  /** What is known of a store; `undefined` for none of this cluster. */
  readonly storeOf: (storeId: number) => Promise<metapb.Store | undefined>;
  /** The key that halves the region's data; `undefined` when it has none. */
  readonly middleKey: (region: metapb.Region) => Promise<Uint8Array | undefined>;
  /** Another region as this store has it. */
  readonly localRegion: (id: number) => metapb.Region | undefined;
  /** The last part of a split keeps the region's id; else the first. */
  readonly rightDerive: boolean;
  /** Bytes of one log entry. */
  readonly maxEntryBytes: number;
}

/**
 * Changes of a region (membership, leadership, range) as its leader takes them: checked by what the region is now, then
 * proposed. They are checked once more when they are applied.
 */
export class RegionChanges {
  readonly #options: RegionChangesOptions;
  readonly #region: ChangedRegion;
  /** Epoch changes that are proposed and not applied. */
  readonly pending = new PendingEpochChanges();
  /** Ids are being asked for. */
  #preparing = false;

  constructor(region: ChangedRegion, options: RegionChangesOptions) {
    this.#region = region;
    this.#options = options;
  }

  /** A change is being prepared, or is in the log and not applied. */
  get isUnderWay(): boolean {
    return this.#preparing || !this.pending.isEmpty;
  }

  /** `done` is called exactly once. */
  request({ context, command, halve }: troupepb.ChangeRegionRequest, done: ChangeDone): void {
    const { region } = this.#region;
    if (command === undefined) return done(refused(region, refusal('invalid', 'no change is asked for')));
    const stopped = this.#standing(command, context?.regionEpoch);
    if (stopped !== undefined) return done(stopped);
    switch (command.cmdType) {
      case AdminCmdType.TransferLeader: {
        const why = this.#region.leadership.transfer(command.transferLeader?.peer);
        return done(why === undefined ? { regions: [region] } : refused(region, why));
      }
      case AdminCmdType.ChangePeerV2:
        return this.#prepared(this.#withIds(command.changePeerV2?.changes ?? []), done, (changes) =>
          this.#changePeers(changes, context?.regionEpoch, done),
        );
      case AdminCmdType.BatchSplit:
        return this.#requestSplit(command.splits, halve, context?.regionEpoch, done);
      case AdminCmdType.PrepareMerge:
        return this.#prepareMerge(command.prepareMerge?.target, done);
      default:
        return done(
          refused(
            region,
            refusal('invalid', `a region is not changed by commands of kind ${command.cmdType}`),
          ),
        );
    }
  }

  /** Splits at stored keys that the store itself found. */
  splitAt(keys: readonly Uint8Array[], done: ChangeDone): void {
    const { region } = this.#region;
    const stopped = this.#standing(SPLIT, region.regionEpoch);
    if (stopped !== undefined) return done(stopped);
    this.#split(keys, this.#options.rightDerive, region.regionEpoch, done);
  }

  /** Proposes to take a source in; its own store asks, again and again. */
  commitMerge(merge: raft_cmdpb.CommitMergeRequest, expected: metapb.RegionEpoch, done: ChangeDone): void {
    const admin = raft_cmdpb.AdminRequest.from({ cmdType: AdminCmdType.CommitMerge, commitMerge: merge });
    const stopped = this.#standing(admin, expected);
    if (stopped !== undefined) return done(stopped);
    this.#propose(admin, done);
  }

  rollbackMerge(commit: number, done: ChangeDone): void {
    this.#propose({ cmdType: AdminCmdType.RollbackMerge, rollbackMerge: { commit } }, done);
  }

  /** Whether a command may be proposed beside what is under way; if not, `conflicted` is called when that is over. */
  admits(rule: EpochRule, conflicted: () => void): boolean {
    const { raftGroup: group } = this.#region;
    if (group === undefined) return true;
    const index = this.pending.conflict(rule, group.term);
    if (index === undefined) return true;
    this.pending.park(index, conflicted);
    return false;
  }

  /** Why nothing can be asked of this region here now. */
  #standing(admin: raft_cmdpb.AdminRequest, epoch: metapb.RegionEpoch | undefined): AdminResult | undefined {
    const { region, raftGroup: group, mergeState } = this.#region;
    if (group === undefined) {
      return refused(region, refusal('invalid', 'this store stands alone: its one region cannot be changed'));
    }
    group.wake();
    if (!group.isLeader) {
      group.seekLeader();
      return { regionError: notLeader(region, this.#region.peerOf(group.leader)), regions: [] };
    }
    const rule = epochRule(admin);
    const regionError = checkEpoch(region, epoch, rule);
    if (regionError !== undefined) return { regionError, regions: [] };
    if (admin.cmdType === AdminCmdType.TransferLeader) return undefined;
    if (mergeState !== undefined) return { regionError: mergingError(region), regions: [] };
    if (!group.appliedInTerm) {
      return refused(region, notNow('not-ready', `the leader of region ${region.id} is new: ask again`));
    }
    if (
      this.pending.conflict({ ...rule, checksConfVer: true, checksVersion: true }, group.term) !== undefined
    ) {
      return refused(
        region,
        notNow('pending-change', `region ${region.id} is being changed already: ask again`),
      );
    }
    return undefined;
  }

  // Membership

  #changePeers(
    changes: readonly raft_cmdpb.ChangePeerRequest[],
    epoch: metapb.RegionEpoch | undefined,
    done: ChangeDone,
  ): void {
    const admin = raft_cmdpb.AdminRequest.from({
      cmdType: AdminCmdType.ChangePeerV2,
      changePeerV2: { changes },
    });
    const stopped = this.#standing(admin, epoch);
    if (stopped !== undefined) return done(stopped);
    const { region, raftGroup: group } = this.#region;
    if (group === undefined) return;
    const next = changePeers(region, changes);
    if (isRefusal(next)) return done(refused(region, next));
    const unready = refuseMembership(region, next, changes, group.status());
    if (unready !== undefined) {
      if (unready.code === 'transferring') this.#region.leadership.handOver(next);
      return done(refused(region, unready));
    }
    let answered = false;
    const error = this.#region.proposeMembership(admin, raftChange(changes, NO_BYTES), (outcome) => {
      answered = true;
      settle(outcome, this.#region, done);
    });
    if (error !== undefined) return done(refused(region, notNow('pending-change', error.message)));
    if (!answered) this.#proposed(admin);
  }

  /** New peers get their ids here, and go only to stores of this cluster. */
  async #withIds(
    changes: readonly raft_cmdpb.ChangePeerRequest[],
  ): Promise<readonly raft_cmdpb.ChangePeerRequest[] | Refusal> {
    const { region } = this.#region;
    const known: raft_cmdpb.ChangePeerRequest[] = [];
    for (const { changeType, peer } of changes) {
      const named = peer && peer.id === 0 ? peerOnStore(region, peer.storeId) : undefined;
      // Whoever asks for a new learner has not seen that a voter is there: it is demoted by its own id only.
      if (
        named !== undefined &&
        named.role !== metapb.PeerRole.Learner &&
        changeType === eraftpb.ConfChangeType.AddLearnerNode
      ) {
        return refusal(
          'peer-exists',
          `peer ${named.id} of region ${region.id} on store ${named.storeId} is a voter already`,
        );
      }
      known.push({ changeType, peer: named ?? peer });
    }
    const strangers = known.filter(
      ({ peer }) => peer !== undefined && peerOnStore(region, peer.storeId) === undefined,
    );
    for (const { peer } of strangers) {
      const refusedStore = await this.#refuseStore(peer?.storeId ?? 0);
      if (refusedStore !== undefined) return refusedStore;
    }
    const unnamed = strangers.filter(({ peer }) => peer?.id === 0).length;
    let id = unnamed === 0 ? 0 : await this.#options.allocateIds(unnamed);
    return known.map(({ changeType, peer }) => ({
      changeType,
      peer: peer?.id === 0 ? { ...peer, id: id++ } : peer,
    }));
  }

  async #refuseStore(storeId: number): Promise<Refusal | undefined> {
    const store = await this.#options.storeOf(storeId);
    if (store === undefined) {
      return refusal('store-unknown', `the cluster has no store ${storeId}: \`troupe status\` lists them`);
    }
    if (store.state === metapb.StoreState.Tombstone) {
      return refusal('store-tombstone', `store ${storeId} is gone for good: choose another`);
    }
    return undefined;
  }

  // Range

  #requestSplit(
    splits: raft_cmdpb.BatchSplitRequest | undefined,
    halve: boolean,
    epoch: metapb.RegionEpoch | undefined,
    done: ChangeDone,
  ): void {
    const { region } = this.#region;
    const rightDerive = splits?.rightDerive ?? this.#options.rightDerive;
    if (!halve) {
      const given = splits?.requests ?? [];
      if (given.some(({ newRegionId }) => newRegionId !== 0))
        return this.#proposeSplit(given, rightDerive, epoch, done);
      return this.#split(
        given.map(({ splitKey }) => splitKey),
        rightDerive,
        epoch,
        done,
      );
    }
    this.#prepared(this.#options.middleKey(region), done, (key) => {
      if (key === undefined) {
        done(
          refused(
            region,
            refusal('nothing-to-split', `region ${region.id} has too little data to be halved`),
          ),
        );
      } else this.#split([key], rightDerive, epoch, done);
    });
  }

  #split(
    keys: readonly Uint8Array[],
    rightDerive: boolean,
    epoch: metapb.RegionEpoch | undefined,
    done: ChangeDone,
  ): void {
    const { region } = this.#region;
    const wrong = refuseSplitKeys(region, keys);
    if (wrong !== undefined) return done(refused(region, wrong));
    this.#prepared(this.#options.askSplitIds(region, keys.length), done, (ids) => {
      const requests = keys.map((splitKey, i) => ({
        splitKey,
        newRegionId: ids[i]?.newRegionId ?? 0,
        newPeerIds: ids[i]?.newPeerIds ?? [],
      }));
      this.#proposeSplit(requests, rightDerive, epoch, done);
    });
  }

  #proposeSplit(
    requests: readonly raft_cmdpb.SplitRequest[],
    rightDerive: boolean,
    epoch: metapb.RegionEpoch | undefined,
    done: ChangeDone,
  ): void {
    const stopped = this.#standing(SPLIT, epoch);
    if (stopped !== undefined) return done(stopped);
    const splits = { requests, rightDerive };
    const { region } = this.#region;
    const keys = requests.map(({ splitKey }) => splitKey);
    const split = refuseTornKeys(region, keys) ?? splitRegion(region, splits);
    if (isRefusal(split)) return done(refused(region, split));
    this.#region.tell({ type: 'splitProposed' });
    this.#propose({ cmdType: AdminCmdType.BatchSplit, splits }, (result) => {
      this.#region.tell({ type: 'splitEnded' });
      done(result);
    });
  }

  #prepareMerge(target: metapb.Region | undefined, done: ChangeDone): void {
    const { region, raftGroup: group } = this.#region;
    if (target === undefined || group === undefined) {
      return done(refused(region, refusal('invalid', 'a merge names the region that takes this one in')));
    }
    const wrong = refuseMerge(region, target, this.#options.localRegion(target.id));
    if (wrong !== undefined) return done(refused(region, wrong));
    const gap = refuseGap(region, group.status(), group.raft, this.#options.maxEntryBytes);
    if (isRefusal(gap)) return done(refused(region, gap));
    this.#propose(
      { cmdType: AdminCmdType.PrepareMerge, prepareMerge: { minIndex: gap.minIndex, target } },
      done,
    );
  }

  // Common to all

  #propose(
    admin: Partial<raft_cmdpb.AdminRequest> & { readonly cmdType: raft_cmdpb.AdminCmdType },
    done: ChangeDone,
  ): void {
    let answered = false;
    this.#region.proposeAdmin(admin, (outcome) => {
      answered = true;
      settle(outcome, this.#region, done);
    });
    // What is answered at once was refused, by a leader that hands over for example: nothing is under way then.
    if (!answered) this.#proposed(raft_cmdpb.AdminRequest.from(admin));
  }

  #proposed(admin: raft_cmdpb.AdminRequest): void {
    const { raftGroup: group } = this.#region;
    if (group !== undefined) this.pending.proposed(epochRule(admin), group.raft.lastIndex, group.term);
  }

  /** One change is prepared at a time; `proceed` runs when what it needs has come. */
  #prepared<T extends object | undefined>(
    preparation: Promise<T | Refusal>,
    done: ChangeDone,
    proceed: (prepared: T) => void,
  ): void {
    const { region } = this.#region;
    if (this.#preparing) {
      preparation.catch(() => {});
      return done(
        refused(region, notNow('pending-change', `region ${region.id} is being changed already: ask again`)),
      );
    }
    this.#preparing = true;
    preparation.then(
      (prepared) => {
        this.#preparing = false;
        if (prepared !== undefined && isRefusal(prepared)) done(refused(region, prepared));
        else proceed(prepared as T);
      },
      (error: unknown) => {
        this.#preparing = false;
        const sentence = error instanceof Error ? error.message : String(error);
        done(
          refused(
            region,
            notNow('not-ready', `the change of region ${region.id} could not be prepared: ${sentence}`),
          ),
        );
      },
    );
  }
}

const NO_BYTES = new Uint8Array(0);
const SPLIT = raft_cmdpb.AdminRequest.from({ cmdType: AdminCmdType.BatchSplit });

function refused(region: metapb.Region, why: Refusal): AdminResult {
  return { refusal: why, regions: [region] };
}

/** What became of a proposal, as the one who asked is told. */
function settle(outcome: Outcome<unknown>, changed: ChangedRegion, done: ChangeDone): void {
  const { region } = changed;
  if (outcome.ok) return done(outcome.result as AdminResult);
  switch (outcome.code) {
    case 'not-leader':
      return done({ regionError: notLeader(region, changed.peerOf(outcome.leader)), regions: [] });
    case 'stale-command':
      return done({
        regionError: errorOf('another leader took the place of this change in the log: ask again', {
          staleCommand: {},
        }),
        regions: [],
      });
    case 'busy':
      return done({
        regionError: errorOf(`region ${region.id} has too much under way: ask again later`, {
          serverIsBusy: { reason: 'too much is uncommitted', backoffMs: 50 },
        }),
        regions: [],
      });
    case 'stopped':
      return done({
        regionError: errorOf(`region ${region.id} is stopping on this store`, {
          regionNotFound: { regionId: region.id },
        }),
        regions: [],
      });
    case 'undetermined':
      return done({
        regionError: errorOf(`region ${region.id} stopped on this store while the change was under way`, {
          undeterminedResult: { message: 'the peer stopped' },
        }),
        regions: [],
      });
  }
}
