import { type metapb, raft_cmdpb } from '../../../storage/proto/index.js';
import type { errorpb } from '../../proto/index.js';
import { epochNotMatch } from '../region-errors.js';

const { AdminCmdType } = raft_cmdpb;

/** Which halves of a region's epoch a command depends on, and which it moves. */
export interface EpochRule {
  readonly checksVersion: boolean;
  readonly checksConfVer: boolean;
  readonly changesVersion: boolean;
  readonly changesConfVer: boolean;
}

const NONE: EpochRule = {
  checksVersion: false,
  checksConfVer: false,
  changesVersion: false,
  changesConfVer: false,
};
const BOTH = { checksVersion: true, checksConfVer: true };

/** Reads and writes of data: only the range matters to them. */
export const DATA_RULE: EpochRule = { ...NONE, checksVersion: true };
const MEMBERSHIP: EpochRule = { ...NONE, checksConfVer: true, changesConfVer: true };
const RANGE: EpochRule = { ...BOTH, changesVersion: true, changesConfVer: false };

/** TiKV's table (`admin_cmd_epoch_lookup`): all replicas of all versions must agree on it. */
const RULES: Readonly<Record<number, EpochRule>> = {
  [AdminCmdType.InvalidAdmin]: NONE,
  [AdminCmdType.CompactLog]: NONE,
  [AdminCmdType.ComputeHash]: NONE,
  [AdminCmdType.VerifyHash]: NONE,
  [AdminCmdType.TransferLeader]: NONE,
  [AdminCmdType.ChangePeer]: MEMBERSHIP,
  [AdminCmdType.ChangePeerV2]: MEMBERSHIP,
  [AdminCmdType.BatchSplit]: RANGE,
  // The version of membership moves only to void the membership changes under way.
  [AdminCmdType.PrepareMerge]: { ...RANGE, changesConfVer: true },
  [AdminCmdType.CommitMerge]: RANGE,
  [AdminCmdType.RollbackMerge]: RANGE,
};

export function epochRule(admin: raft_cmdpb.AdminRequest | undefined): EpochRule {
  if (admin === undefined) return DATA_RULE;
  const rule = RULES[admin.cmdType];
  if (rule === undefined) throw new Error(`an admin command of kind ${admin.cmdType} has no epoch rule`);
  return rule;
}

/** Of a region of which nothing is known. */
export const NO_EPOCH: metapb.RegionEpoch = { confVer: 0, version: 0 };

export function epochOf(region: metapb.Region): metapb.RegionEpoch {
  return region.regionEpoch ?? NO_EPOCH;
}

/** Whether `epoch` has seen less than `than`: one of its halves is smaller. */
export function isEpochStale(epoch: metapb.RegionEpoch, than: metapb.RegionEpoch): boolean {
  return epoch.version < than.version || epoch.confVer < than.confVer;
}

/**
 * What a command depends on must be equal, so a newer epoch is refused too: this replica may not have applied what the
 * caller already saw.
 */
export function checkEpoch(
  region: metapb.Region,
  epoch: metapb.RegionEpoch | undefined,
  rule: EpochRule,
): errorpb.Error | undefined {
  const own = epochOf(region);
  const asked = epoch ?? NO_EPOCH;
  if (rule.checksVersion && asked.version !== own.version) return epochNotMatch([region]);
  if (rule.checksConfVer && asked.confVer !== own.confVer) return epochNotMatch([region]);
  return undefined;
}

/** A proposed command that will move the epoch when it is applied. */
interface Pending {
  readonly index: number;
  readonly rule: EpochRule;
  readonly parked: (() => void)[];
}

/**
 * The epoch changes that this leader has proposed and not applied (TiKV's CmdEpochChecker): a command that depends on what
 * one of them moves would be refused when it is applied, so it is not proposed. It waits, to be answered with the epoch
 * as it is then.
 */
export class PendingEpochChanges {
  #term = 0;
  #pending: Pending[] = [];

  get isEmpty(): boolean {
    return this.#pending.length === 0;
  }

  /** The last proposal that `rule` must wait for; `undefined` when nothing stands in its way. */
  conflict(rule: EpochRule, term: number): number | undefined {
    this.#at(term);
    return this.#pending.findLast(
      ({ rule: { changesVersion, changesConfVer } }) =>
        (rule.checksVersion && changesVersion) || (rule.checksConfVer && changesConfVer),
    )?.index;
  }

  proposed(rule: EpochRule, index: number, term: number): void {
    this.#at(term);
    if (rule.changesVersion || rule.changesConfVer) this.#pending.push({ index, rule, parked: [] });
  }

  /** `answer` is called when the proposal at `index` is applied, or lost. */
  park(index: number, answer: () => void): void {
    const pending = this.#pending.find((one) => one.index === index);
    if (pending === undefined) answer();
    else pending.parked.push(answer);
  }

  applied(index: number): void {
    while (this.#pending[0] !== undefined && this.#pending[0].index <= index) {
      for (const answer of this.#pending.shift()?.parked ?? []) answer();
    }
  }

  /** Leadership is over: what was proposed may never be applied. */
  clear(): void {
    for (const { parked } of this.#pending.splice(0)) for (const answer of parked) answer();
  }

  #at(term: number): void {
    if (this.#term === term) return;
    this.#term = term;
    this.clear();
  }
}
