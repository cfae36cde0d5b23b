import type { ConfChange, ConfState, Status } from '../../../machines/index.js';
import { eraftpb, metapb, type raft_cmdpb } from '../../../storage/proto/index.js';
import { epochOf } from './epoch.js';
import { isRefusal, notNow, type Refusal, refusal } from './refusal.js';

const { ConfChangeType } = eraftpb;
const { PeerRole } = metapb;

export type PeerChange = raft_cmdpb.ChangePeerRequest;

/** The membership that the roles of a region's peers amount to. */
export function confStateOf(region: metapb.Region): ConfState {
  const voters: number[] = [];
  const votersOutgoing: number[] = [];
  const learners: number[] = [];
  const learnersNext: number[] = [];
  const joint = isJoint(region);
  for (const { id, role } of region.peers) {
    if (role === PeerRole.Learner) learners.push(id);
    if (role === PeerRole.Voter || role === PeerRole.IncomingVoter) voters.push(id);
    if (joint && (role === PeerRole.Voter || role === PeerRole.DemotingVoter)) votersOutgoing.push(id);
    if (role === PeerRole.DemotingVoter) learnersNext.push(id);
  }
  return { voters, votersOutgoing, learners, learnersNext, autoLeave: false };
}

export function isJoint({ peers }: metapb.Region): boolean {
  return peers.some(({ role }) => role === PeerRole.IncomingVoter || role === PeerRole.DemotingVoter);
}

export function peerOnStore({ peers }: metapb.Region, storeId: number): metapb.Peer | undefined {
  return peers.find((peer) => peer.storeId === storeId);
}

/** Voters of either half. */
export function votersOf({ peers }: metapb.Region): readonly metapb.Peer[] {
  return peers.filter(({ role }) => role !== PeerRole.Learner);
}

/**
 * The region after a membership change: none leaves a joint membership, one is simple, several enter a joint one that is
 * left by a further change (Raft thesis 4.3; roles as in TiKV's ChangePeerV2).
 */
export function changePeers(region: metapb.Region, changes: readonly PeerChange[]): metapb.Region | Refusal {
  if (changes.length === 0) return leaveJoint(region);
  if (isJoint(region)) {
    return refusal('joint', `region ${region.id} is in a joint membership: leave it first`);
  }
  const named = new Set<number>();
  let peers = [...region.peers];
  for (const { changeType, peer } of changes) {
    if (peer === undefined || peer.id === 0 || peer.storeId === 0) {
      return refusal('invalid', 'a membership change names no peer: give its id and its store');
    }
    if (named.has(peer.id)) {
      return refusal('duplicate-peer', `the membership change names peer ${peer.id} twice: name it once`);
    }
    named.add(peer.id);
    const next = changePeer(region.id, peers, changeType, peer, changes.length > 1);
    if (isRefusal(next)) return next;
    peers = [...next];
  }
  if (!peers.some(({ role }) => role === PeerRole.Voter || role === PeerRole.IncomingVoter)) {
    return refusal(
      'last-voter',
      `region ${region.id} would be left without a voter: add one, or promote a learner, first`,
    );
  }
  const { confVer, version } = epochOf(region);
  return { ...region, peers, regionEpoch: { confVer: confVer + changes.length, version } };
}

function changePeer(
  region: number,
  peers: readonly metapb.Peer[],
  changeType: eraftpb.ConfChangeType,
  { id, storeId }: metapb.Peer,
  joint: boolean,
): readonly metapb.Peer[] | Refusal {
  const known = peers.find((peer) => peer.storeId === storeId);
  if (known !== undefined && known.id !== id) {
    return refusal(
      'peer-exists',
      `region ${region} has peer ${known.id} on store ${storeId}: name that one, or another store`,
    );
  }
  if (known === undefined && peers.some((peer) => peer.id === id)) {
    return refusal('peer-exists', `peer ${id} of region ${region} is on another store than ${storeId}`);
  }
  if (known === undefined) {
    if (changeType === ConfChangeType.RemoveNode) {
      return refusal('peer-unknown', `region ${region} has no peer ${id} on store ${storeId}`);
    }
    if (changeType === ConfChangeType.AddLearnerNode) {
      return [...peers, { id, storeId, role: PeerRole.Learner }];
    }
    return [...peers, { id, storeId, role: joint ? PeerRole.IncomingVoter : PeerRole.Voter }];
  }
  const withRole = (role: metapb.PeerRole) =>
    peers.map((peer) => (peer === known ? { ...peer, role } : peer));
  switch (known.role) {
    case PeerRole.Voter:
      if (changeType === ConfChangeType.AddNode) {
        return refusal('peer-exists', `peer ${id} is a voter of region ${region} already`);
      }
      if (changeType === ConfChangeType.AddLearnerNode) {
        return withRole(joint ? PeerRole.DemotingVoter : PeerRole.Learner);
      }
      if (joint) {
        return refusal(
          'illegal-role',
          `peer ${id} of region ${region} is a voter: a joint change can only demote it, remove the learner afterwards`,
        );
      }
      return peers.filter((peer) => peer !== known);
    case PeerRole.Learner:
      if (changeType === ConfChangeType.AddLearnerNode) {
        return refusal('peer-exists', `peer ${id} is a learner of region ${region} already`);
      }
      if (changeType === ConfChangeType.AddNode) {
        return withRole(joint ? PeerRole.IncomingVoter : PeerRole.Voter);
      }
      return peers.filter((peer) => peer !== known);
    default:
      return refusal('illegal-role', `peer ${id} of region ${region} is changing its role already`);
  }
}

function leaveJoint(region: metapb.Region): metapb.Region | Refusal {
  if (!isJoint(region)) {
    return refusal('not-joint', `region ${region.id} is in no joint membership: there is nothing to leave`);
  }
  let flipped = 0;
  const peers = region.peers.map((peer): metapb.Peer => {
    if (peer.role !== PeerRole.IncomingVoter && peer.role !== PeerRole.DemotingVoter) return peer;
    flipped++;
    return { ...peer, role: peer.role === PeerRole.IncomingVoter ? PeerRole.Voter : PeerRole.Learner };
  });
  const { confVer, version } = epochOf(region);
  return { ...region, peers, regionEpoch: { confVer: confVer + flipped, version } };
}

/** The same change as Raft takes it; `context` is the command that describes it. */
export function raftChange(changes: readonly PeerChange[], context: Uint8Array): ConfChange {
  return {
    transition: changes.length > 1 ? 'explicit' : 'auto',
    changes: changes.map(({ changeType, peer }) => ({ kind: KINDS[changeType], id: peer?.id ?? 0 })),
    context,
  };
}

const KINDS = {
  [ConfChangeType.AddNode]: 'addVoter',
  [ConfChangeType.RemoveNode]: 'removeNode',
  [ConfChangeType.AddLearnerNode]: 'addLearner',
} as const;

/**
 * Whether the group could go on with the membership of `next`, as its leader sees the members now (TiKV's
 * `check_conf_change`): the leader stays a voter, more voters answer than do not, and a quorum has a log that needs no
 * snapshot, so that the change itself can commit.
 */
export function refuseMembership(
  region: metapb.Region,
  next: metapb.Region,
  changes: readonly PeerChange[],
  status: Status,
): Refusal | undefined {
  const { id: leader, progress, firstIndex } = status;
  const role = next.peers.find((peer) => peer.id === leader)?.role;
  if (role === undefined || role === PeerRole.Learner) {
    return notNow(
      'transferring',
      `peer ${leader} leads region ${region.id} and cannot leave its voters: leadership moves first, ask again`,
    );
  }
  const voters = votersOf(next);
  const touchesVoters =
    changes.length === 0 ||
    changes.some(
      ({ changeType, peer }) =>
        changeType === ConfChangeType.AddNode ||
        region.peers.find((one) => one.id === peer?.id)?.role === PeerRole.Voter,
    );
  if (changes.length > 1 && !touchesVoters) {
    return refusal('invalid', 'a joint change is for voters: change learners one by one');
  }
  const slow = voters.filter((peer) => progress.get(peer.id)?.live === false);
  if (2 * slow.length > voters.length) {
    return notNow(
      'no-quorum',
      `region ${region.id} would have ${slow.length} of ${voters.length} voters that do not answer (stores ${slow.map(({ storeId }) => storeId).join(', ')})`,
    );
  }
  // A group of one commits alone until the new member is there.
  if (votersOf(region).length === 1 || !touchesVoters) return undefined;
  const { voters: incoming, votersOutgoing } = confStateOf(next);
  const matched = (ids: readonly number[]) => commonIndex(ids.map((id) => progress.get(id)?.match ?? 0));
  const committable = Math.min(
    matched(incoming),
    votersOutgoing.length > 0 ? matched(votersOutgoing) : Infinity,
  );
  if (committable + 1 >= firstIndex) return undefined;
  return notNow(
    'not-ready',
    `region ${region.id} could not commit with these voters before snapshots have reached them: wait, and ask again`,
  );
}

/** The highest index that a majority has. */
function commonIndex(matches: readonly number[]): number {
  const sorted = [...matches].sort((a, b) => b - a);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
