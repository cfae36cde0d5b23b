import { eraftpb, metapb, raft_cmdpb } from '../../storage/proto/index.js';
import type { TroupeError } from '../errors.js';
import {
  type ChangeCall,
  type Changed,
  changeRegion,
  checkEpoch,
  type RegionChange,
} from './region-change.js';
import { awaitRegion, changedMeanwhile } from './region-effects.js';
import { type RegionInfo, roleName } from './region-info.js';
import { refusal } from './region-refusals.js';

/** Changes of a region's membership and leadership, one step each, and the wait for each. */

const { AddNode, RemoveNode, AddLearnerNode } = eraftpb.ConfChangeType;
const { Voter, Learner, IncomingVoter, DemotingVoter } = metapb.PeerRole;

/** Adds a voter, which counts at once: the region may have to wait for it. */
export async function addPeer(call: ChangeCall, regionId: number, storeId: number): Promise<RegionInfo> {
  await checkStore(call, storeId);
  return awaitPeer(call, await changeRegion(call, adding(regionId, storeId, Voter)), storeId, Voter);
}

export async function addLearner(call: ChangeCall, regionId: number, storeId: number): Promise<RegionInfo> {
  await checkStore(call, storeId);
  return awaitPeer(call, await changeRegion(call, adding(regionId, storeId, Learner)), storeId, Learner);
}

/** Makes a voter of a learner. */
export async function promote(call: ChangeCall, regionId: number, storeId: number): Promise<RegionInfo> {
  const changed = await changeRegion(call, {
    ref: { id: regionId },
    command: (region) => changePeers([AddNode, { ...knownPeer(region, storeId), role: Voter }]),
    stands: (now) => peerOn(now, storeId)?.role === Voter,
  });
  return awaitPeer(call, changed, storeId, Voter);
}

export async function removePeer(call: ChangeCall, regionId: number, storeId: number): Promise<RegionInfo> {
  const changed = await changeRegion(call, {
    ref: { id: regionId },
    command: (region) => changePeers([RemoveNode, knownPeer(region, storeId)]),
    stands: (now) => now !== undefined && peerOn(now, storeId) === undefined,
  });
  return awaitRegion(call, changed, (view) =>
    view.peers.every(({ store }) => store !== storeId)
      ? undefined
      : `the scheduler hears that store ${storeId} is left`,
  );
}

/** One joint change that makes a voter of one peer and a learner of the other; then membership is joint. */
export function enterJoint(
  call: ChangeCall,
  regionId: number,
  promotedStore: number,
  demotedStore: number,
): Promise<Changed> {
  return changeRegion(call, {
    ref: { id: regionId },
    command: (region) =>
      changePeers(
        [AddNode, { ...knownPeer(region, promotedStore), role: Voter }],
        [AddLearnerNode, { ...knownPeer(region, demotedStore), role: Learner }],
      ),
    stands: (now) => now !== undefined && isJoint(now),
  });
}

export function leaveJoint(call: ChangeCall, regionId: number): Promise<Changed> {
  return changeRegion(call, {
    ref: { id: regionId },
    command: () => changePeers(),
    stands: (now) => now !== undefined && !isJoint(now),
  });
}

/** How long a leader has to hand over, in milliseconds; Raft gives a transfer up after an election timeout. */
const TRANSFER_MS = 3_000;

/** Makes the peer on a store the leader. A transfer that came to nothing is asked for again. */
export async function transferLeader(
  call: ChangeCall,
  regionId: number,
  storeId: number,
): Promise<RegionInfo> {
  const { parts, deadline, epoch } = call;
  const transfer: RegionChange = {
    ref: { id: regionId },
    command: (region) => {
      // Stores do not look at the epoch here: leadership is no part of it.
      checkEpoch(region, epoch);
      return raft_cmdpb.AdminRequest.from({
        cmdType: raft_cmdpb.AdminCmdType.TransferLeader,
        transferLeader: { peer: knownPeer(region, storeId) },
      });
    },
    // It is harmless to repeat.
    stands: () => false,
  };
  const changed = await changeRegion(call, transfer);
  let asked = deadline.now();
  return awaitRegion(call, changed, async ({ leader }) => {
    if (leader === storeId) return undefined;
    if (deadline.now() - asked > TRANSFER_MS) {
      await changeRegion({ parts, deadline }, transfer);
      asked = deadline.now();
    }
    return `store ${storeId} leads region ${regionId} (${leader === null ? 'nobody is known to' : `store ${leader} does`})`;
  });
}

/** @throws TroupeError `not-found` or `conflict` for a store that can hold no peer */
export async function checkStore({ parts, deadline }: ChangeCall, storeId: number): Promise<void> {
  const store = (await parts.scheduler.getAllStores(deadline.terms)).find(({ id }) => id === storeId);
  if (store === undefined) {
    throw refusal('store-unknown', `There is no store ${storeId}: \`troupe status\` lists them.`);
  }
  if (store.state !== metapb.StoreState.Tombstone) return;
  throw refusal('store-tombstone', `Store ${storeId} has left the cluster: choose one that is up.`);
}

function peerOn(region: metapb.Region | undefined, storeId: number): metapb.Peer | undefined {
  return region?.peers.find((peer) => peer.storeId === storeId);
}

/** @throws TroupeError `not-found` when the region has no peer there */
function knownPeer(region: metapb.Region, storeId: number): metapb.Peer {
  const peer = peerOn(region, storeId);
  if (peer !== undefined) return peer;
  throw noPeer(
    region.id,
    storeId,
    region.peers.map((one) => one.storeId),
  );
}

/** @param stores where the region's peers are */
export function noPeer(regionId: number, storeId: number, stores: readonly number[]): TroupeError {
  return refusal(
    'peer-unknown',
    `Region ${regionId} has no peer on store ${storeId}: its peers are on the stores ${stores.join(', ')}.`,
  );
}

function isJoint(region: metapb.Region): boolean {
  return region.peers.some(({ role }) => role === IncomingVoter || role === DemotingVoter);
}

function adding(regionId: number, storeId: number, role: metapb.PeerRole): RegionChange {
  return {
    ref: { id: regionId },
    // The store gives the new peer its id.
    command: () => changePeers([role === Voter ? AddNode : AddLearnerNode, { id: 0, storeId, role }]),
    stands: (now) => peerOn(now, storeId)?.role === role,
  };
}

function changePeers(
  ...changes: readonly (readonly [eraftpb.ConfChangeType, metapb.Peer])[]
): raft_cmdpb.AdminRequest {
  return raft_cmdpb.AdminRequest.from({
    cmdType: raft_cmdpb.AdminCmdType.ChangePeerV2,
    changePeerV2: { changes: changes.map(([changeType, peer]) => ({ changeType, peer })) },
  });
}

/** Waits until a peer has its role and has caught up. */
export function awaitPeer(
  call: ChangeCall,
  changed: Changed,
  storeId: number,
  role: metapb.PeerRole,
): Promise<RegionInfo> {
  return awaitRegion(call, changed, ({ id, peers }) => {
    const peer = peers.find(({ store }) => store === storeId);
    if (peer === undefined) throw changedMeanwhile(id, `its peer on store ${storeId} was removed`);
    if (role === Voter && peer.role !== roleName(Voter))
      return `peer ${peer.id} on store ${storeId} is a voter`;
    return peer.pending ? `peer ${peer.id} on store ${storeId} has caught up` : undefined;
  });
}
