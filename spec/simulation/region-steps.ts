import { eraftpb, metapb, type raft_cmdpb } from '../../storage/proto/index.js';

const { AddNode, AddLearnerNode, RemoveNode } = eraftpb.ConfChangeType;
const { PeerRole } = metapb;

export type PeerChange = raft_cmdpb.ChangePeerRequest;

/** `undefined` when there is nobody to change. */
export function peerChange(
  changeType: eraftpb.ConfChangeType,
  peer: metapb.Peer | undefined,
): PeerChange | undefined {
  return peer === undefined ? undefined : { changeType, peer };
}

export function isJoint({ peers }: metapb.Region): boolean {
  return peers.some(({ role }) => role === PeerRole.IncomingVoter || role === PeerRole.DemotingVoter);
}

/**
 * The next change on a region's way to the stores and roles of another, before both can be merged; no changes leave a joint
 * membership.
 * @returns `undefined` when it is there
 */
export function matchStep(
  source: metapb.Region,
  target: metapb.Region,
): PeerChange | readonly PeerChange[] | undefined {
  if (isJoint(source)) return [];
  const own = new Map(source.peers.map((peer) => [peer.storeId, peer]));
  for (const { storeId, role } of target.peers) {
    const peer = own.get(storeId);
    const changeType = role === PeerRole.Learner ? AddLearnerNode : AddNode;
    if (peer === undefined) return { changeType, peer: { id: 0, storeId, role } };
    if ((peer.role === PeerRole.Learner) !== (role === PeerRole.Learner)) return { changeType, peer };
  }
  const extra = source.peers.find(({ storeId }) => !target.peers.some((peer) => peer.storeId === storeId));
  return peerChange(RemoveNode, extra);
}
