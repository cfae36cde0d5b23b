import { metapb } from '../../storage/proto/index.js';
import { TroupeError } from '../errors.js';
import type { ChangeCall } from './region-change.js';
import { awaitRegion } from './region-effects.js';
import { type RegionInfo, type RegionPeerInfo, regionInfo, roleName, unknownRegion } from './region-info.js';
import {
  addLearner,
  awaitPeer,
  checkStore,
  enterJoint,
  leaveJoint,
  noPeer,
  removePeer,
  transferLeader,
} from './region-members.js';
import { refusal } from './region-refusals.js';

const { Learner } = metapb.PeerRole;
const VOTER = roleName(metapb.PeerRole.Voter);
const LEARNER = roleName(Learner);
const INCOMING = roleName(metapb.PeerRole.IncomingVoter);
const DEMOTING = roleName(metapb.PeerRole.DemotingVoter);

/** What a move does next. */
export type MoveStep =
  | { readonly does: 'add learner' | 'catch up' | 'enter joint' | 'leave joint' | 'remove' | 'nothing' }
  | { readonly does: 'hand over'; readonly to: number };

/**
 * Moves a peer from one store to another, as PD does it: a learner first, so that the region never waits for a peer that
 * is behind, then one joint change, so that it never has fewer voters. A move that was cut short goes on where it stands.
 * @returns the region with its new peer
 */
export async function movePeer(
  call: ChangeCall,
  regionId: number,
  fromStore: number,
  toStore: number,
): Promise<RegionInfo> {
  if (fromStore === toStore) {
    throw new TroupeError(
      'invalid-argument',
      `A move from store ${fromStore} to itself: name another store.`,
    );
  }
  await checkStore(call, toStore);
  try {
    return await moveOn(call, regionId, fromStore, toStore);
  } catch (error) {
    throw resumable(error);
  }
}

async function moveOn(call: ChangeCall, regionId: number, from: number, to: number): Promise<RegionInfo> {
  const { parts, deadline } = call;
  let { epoch } = call;
  while (!deadline.passed) {
    const { region, ...told } = await parts.scheduler.getRegionById(regionId, deadline.terms);
    if (region === undefined) throw unknownRegion(regionId);
    const view = regionInfo({ region, ...told });
    const step = nextStep(view, from, to);
    // Between the steps the effect is always waited for.
    const one = { ...call, epoch, wait: true };
    switch (step.does) {
      case 'add learner':
        await addLearner(one, regionId, to);
        break;
      case 'catch up':
        await awaitPeer(one, { regions: [region], before: region, leaderStore: undefined }, to, Learner);
        continue;
      case 'hand over':
        await transferLeader(one, regionId, step.to);
        break;
      case 'enter joint':
        await awaitRegion(one, await enterJoint(one, regionId, to, from), () => undefined);
        break;
      case 'leave joint':
        await awaitRegion(one, await leaveJoint(one, regionId), () => undefined);
        break;
      case 'remove':
        return removePeer({ ...one, wait: call.wait }, regionId, from);
      case 'nothing':
        return view;
    }
    // What was given is the epoch of the first change; the others follow from it.
    epoch = undefined;
  }
  throw new TroupeError(
    'timeout',
    `Region ${regionId} was not moved within ${Math.round(deadline.timeout)} ms.`,
  );
}

/**
 * The next step of a move, from how the region is now.
 * @throws TroupeError `not-found` when there is nothing to move, `conflict` when others change the region, or it has a
 * voter on both stores
 */
export function nextStep(region: RegionInfo, fromStore: number, toStore: number): MoveStep {
  const { id, peers, leader } = region;
  const old = peers.find(({ store }) => store === fromStore);
  const fresh = peers.find(({ store }) => store === toStore);
  if (peers.some(({ role }) => role === INCOMING || role === DEMOTING)) {
    if (fresh?.role !== INCOMING || old?.role !== DEMOTING) {
      throw refusal(
        'joint',
        `The peers of region ${id} are being changed by somebody else: try again later.`,
      );
    }
    return leader === fromStore
      ? { does: 'hand over', to: heirOf(region, fromStore)?.store ?? toStore }
      : { does: 'leave joint' };
  }
  if (old === undefined) {
    if (fresh !== undefined) return { does: 'nothing' };
    throw noPeer(
      id,
      fromStore,
      peers.map(({ store }) => store),
    );
  }
  if (fresh === undefined) return { does: 'add learner' };
  if (fresh.role === VOTER) {
    if (old.role === LEARNER) return { does: 'remove' };
    throw refusal(
      'peer-exists',
      `Region ${id} has voters on both store ${fromStore} and store ${toStore}: to have one less, remove one of them.`,
    );
  }
  if (fresh.pending) return { does: 'catch up' };
  if (old.role === LEARNER) return { does: 'remove' };
  const heir = leader === fromStore ? heirOf(region, fromStore) : undefined;
  return heir === undefined ? { does: 'enter joint' } : { does: 'hand over', to: heir.store };
}

/** A voter on another store that can lead at once. */
function heirOf({ peers }: RegionInfo, fromStore: number): RegionPeerInfo | undefined {
  return peers.find(
    ({ store, role, pending, downSeconds }) =>
      store !== fromStore && role === VOTER && !pending && downSeconds === 0,
  );
}

function resumable(error: unknown): unknown {
  if (!(error instanceof TroupeError)) return error;
  const { code, reason } = error;
  if (code !== 'timeout' && code !== 'undetermined' && code !== 'unavailable') return error;
  return new TroupeError(code, `${error.message} Ask for the same move again: it goes on where it stands.`, {
    cause: error,
    reason,
  });
}
