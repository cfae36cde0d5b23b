import { eraftpb, metapb } from '../../../storage/proto/index.js';
import { pdpb } from '../../proto/index.js';
import { isJoint, isPending, peerOn, type RegionReport } from './region-report.js';

const { PeerRole } = metapb;
const { AddNode, AddLearnerNode, RemoveNode } = eraftpb.ConfChangeType;

/** One change of one region on the way to an operator's purpose; peers are named by their stores. */
export type Step =
  /** Done when the new peer has caught up. */
  | { readonly kind: 'addLearner'; readonly store: number }
  | { readonly kind: 'promote'; readonly store: number }
  | { readonly kind: 'removePeer'; readonly store: number }
  | { readonly kind: 'transferLeader'; readonly store: number }
  /** One joint change: some become voters while others cease to be (Raft thesis 4.3). */
  | { readonly kind: 'enterJoint'; readonly promoted: readonly number[]; readonly demoted: readonly number[] }
  | { readonly kind: 'leaveJoint'; readonly changes: number }
  /** The region goes into a neighbour; the neighbour's own operator waits meanwhile. */
  | { readonly kind: 'merge'; readonly target: metapb.Region }
  | { readonly kind: 'awaitMerge'; readonly source: number }
  /** At these stored keys, or at the middle of its data where there are none. */
  | { readonly kind: 'split'; readonly keys: readonly Uint8Array[] };

/** What the leader is told to do; fields of a `RegionHeartbeatResponse`. */
export type Order = Partial<
  Pick<
    pdpb.RegionHeartbeatResponse,
    'changePeer' | 'changePeerV2' | 'transferLeader' | 'merge' | 'splitRegion'
  >
>;

/** What a step does to one store when it is done. */
export interface Influence {
  readonly store: number;
  /** Replicas and leaders, and the bytes of these. */
  readonly replicas: number;
  readonly leaders: number;
  readonly size: number;
  readonly leaderSize: number;
}

const FAST_STEP_MS = 60_000;
const SLOW_STEP_MS = 600_000;
/** Bytes a second that a replica is made with at least; large regions get more time. */
const SLOWEST_COPY = 1024 * 1024;

/** Whether a heartbeat of the region, as it was before the operator in `version`, shows that the step is done. */
export function isDone(step: Step, report: RegionReport, version: number): boolean {
  const { region, leader } = report;
  switch (step.kind) {
    case 'addLearner': {
      const peer = peerOn(region, step.store);
      return peer !== undefined && !isPending(report, peer.id);
    }
    case 'promote':
      return peerOn(region, step.store)?.role === PeerRole.Voter;
    case 'removePeer':
      return peerOn(region, step.store) === undefined;
    case 'transferLeader':
      return leader.storeId === step.store;
    case 'enterJoint':
      return (
        step.promoted.every((store) => peerOn(region, store)?.role === PeerRole.IncomingVoter) &&
        step.demoted.every((store) => peerOn(region, store)?.role === PeerRole.DemotingVoter)
      );
    case 'leaveJoint':
      return !isJoint(region);
    // The region is gone then, and tells nothing more.
    case 'merge':
      return false;
    case 'awaitMerge':
    case 'split':
      return (region.regionEpoch?.version ?? 0) > version;
  }
}

/** By how much the step, as far as the region shows it done, has raised the region's `confVer`. */
export function confVerOf(step: Step, region: metapb.Region): number {
  switch (step.kind) {
    case 'addLearner':
      return peerOn(region, step.store) === undefined ? 0 : 1;
    case 'promote':
      return peerOn(region, step.store)?.role === PeerRole.Voter ? 1 : 0;
    case 'removePeer':
      return peerOn(region, step.store) === undefined ? 1 : 0;
    case 'enterJoint':
      return isJoint(region) ? step.promoted.length + step.demoted.length : 0;
    case 'leaveJoint':
      return isJoint(region) ? 0 : step.changes;
    // Preparing a merge raises both halves of the source's epoch.
    case 'merge':
      return 1;
    default:
      return 0;
  }
}

/** The same of a step that is done. */
export function confVerOfDone(step: Step): number {
  switch (step.kind) {
    case 'addLearner':
    case 'promote':
    case 'removePeer':
      return 1;
    case 'enterJoint':
      return step.promoted.length + step.demoted.length;
    case 'leaveJoint':
      return step.changes;
    default:
      return 0;
  }
}

/** Why the region is not fit for the step any more; `undefined` when it is. A leader never removes itself. */
export function obstacleTo(step: Step, { region, leader }: RegionReport): string | undefined {
  const role = (store: number): metapb.PeerRole | undefined => peerOn(region, store)?.role;
  switch (step.kind) {
    case 'promote':
      return role(step.store) === undefined ? `the learner on store ${step.store} is gone` : undefined;
    case 'transferLeader':
      return role(step.store) === undefined || role(step.store) === PeerRole.Learner
        ? `there is no voter on store ${step.store}`
        : undefined;
    case 'removePeer':
      return leader.storeId === step.store ? `the peer on store ${step.store} leads the region` : undefined;
    case 'enterJoint': {
      const gone = step.promoted.find((store) => role(store) === undefined);
      if (gone !== undefined) return `the learner on store ${gone} is gone`;
      return step.demoted.includes(leader.storeId)
        ? `the peer on store ${leader.storeId} leads the region`
        : undefined;
    }
    case 'leaveJoint':
      return role(leader.storeId) === PeerRole.DemotingVoter
        ? `the peer on store ${leader.storeId} leads the region, and would cease to vote`
        : undefined;
    default:
      return undefined;
  }
}

/** Whether the step is meant to change the region's range. */
export function changesRange({ kind }: Step): boolean {
  return kind === 'merge' || kind === 'awaitMerge' || kind === 'split';
}

/** What the region's leader is told; `undefined` while there is nothing to tell it. */
export function orderOf(step: Step, { region }: RegionReport): Order | undefined {
  switch (step.kind) {
    case 'addLearner':
      // The leader's store gives the new peer its id.
      return peerOn(region, step.store) === undefined
        ? {
            changePeer: {
              peer: { id: 0, storeId: step.store, role: PeerRole.Learner },
              changeType: AddLearnerNode,
            },
          }
        : undefined;
    case 'promote':
      return { changePeer: change(region, step.store, AddNode) };
    case 'removePeer':
      return { changePeer: change(region, step.store, RemoveNode) };
    case 'transferLeader':
      return { transferLeader: { peer: peerOn(region, step.store), peers: [] } };
    case 'enterJoint':
      return {
        changePeerV2: {
          changes: [
            ...step.promoted.map((store) => change(region, store, AddNode)),
            ...step.demoted.map((store) => change(region, store, AddLearnerNode)),
          ],
        },
      };
    case 'leaveJoint':
      return { changePeerV2: { changes: [] } };
    case 'merge':
      return { merge: { target: step.target } };
    case 'awaitMerge':
      return undefined;
    case 'split':
      return {
        splitRegion: {
          policy: step.keys.length > 0 ? pdpb.CheckPolicy.USEKEY : pdpb.CheckPolicy.APPROXIMATE,
          keys: step.keys,
        },
      };
  }
}

/** Milliseconds that a step of a region of so many bytes may take (PD's fast and slow steps). */
export function timeLimitOf({ kind }: Step, size: number): number {
  if (kind !== 'addLearner' && !kind.endsWith('erge')) return FAST_STEP_MS;
  return SLOW_STEP_MS + (size / SLOWEST_COPY) * 1_000;
}

/**
 * What the step will have done to stores.
 * @param size bytes that a replica of the region counts as
 * @param leader store of the region's leader when the step begins
 */
export function influencesOf(step: Step, size: number, leader: number): readonly Influence[] {
  switch (step.kind) {
    case 'addLearner':
      return [{ store: step.store, replicas: 1, leaders: 0, size, leaderSize: 0 }];
    case 'removePeer':
      return [{ store: step.store, replicas: -1, leaders: 0, size: -size, leaderSize: 0 }];
    case 'transferLeader':
      return [
        { store: leader, replicas: 0, leaders: -1, size: 0, leaderSize: -size },
        { store: step.store, replicas: 0, leaders: 1, size: 0, leaderSize: size },
      ];
    default:
      return [];
  }
}

/** Stores that get something by the step: a replica, a vote, or leadership. */
export function storesThatTake(step: Step): readonly number[] {
  switch (step.kind) {
    case 'addLearner':
    case 'promote':
    case 'transferLeader':
      return [step.store];
    case 'enterJoint':
      return step.promoted;
    default:
      return [];
  }
}

/** The step in words. */
export function sentenceOf(step: Step): string {
  switch (step.kind) {
    case 'addLearner':
      return `add a learner on store ${step.store}`;
    case 'promote':
      return `promote the peer on store ${step.store}`;
    case 'removePeer':
      return `remove the peer on store ${step.store}`;
    case 'transferLeader':
      return `make the peer on store ${step.store} the leader`;
    case 'enterJoint':
      return `swap the votes of stores ${step.demoted.join(', ')} for those of ${step.promoted.join(', ')}`;
    case 'leaveJoint':
      return 'leave the joint membership';
    case 'merge':
      return `merge into region ${step.target.id}`;
    case 'awaitMerge':
      return `take in region ${step.source}`;
    case 'split':
      return step.keys.length > 0 ? `split at ${step.keys.length} keys` : 'split in half';
  }
}

function change(region: metapb.Region, storeId: number, changeType: eraftpb.ConfChangeType): pdpb.ChangePeer {
  return { peer: peerOn(region, storeId), changeType };
}
