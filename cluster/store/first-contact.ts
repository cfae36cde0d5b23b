import type { Message } from '../../machines/index.js';
import type { metapb, RaftEvent } from '../../storage/proto/index.js';
import { epochOf, isEpochStale } from './admin/epoch.js';
import type { StoreMeta } from './store-meta.js';

/** What is to be done with a Raft message for a peer that is not here. */
export type Contact =
  /** The peer is new: it is made, and takes the message. */
  | { readonly do: 'create' }
  /** It may be new: the scheduler has to say so, for tombstones of such peers were forgotten. */
  | { readonly do: 'confirm' }
  /** Another peer of the region is in its place, and older: it goes first. */
  | { readonly do: 'replace' }
  /** Its keys are still those of a region that is about to be split, or is just being split: kept until then. */
  | { readonly do: 'park' }
  /** The sender is no member any more: it is told, and with a target that its region was merged into that. */
  | { readonly do: 'tellGone'; readonly region: metapb.Region; readonly target: metapb.Region | undefined }
  | { readonly do: 'drop'; readonly why: string };

const drop = (why: string): Contact => ({ do: 'drop', why });

/** Only these make a peer (TiKV's "initial messages"): others say nothing of whether it is still wanted. */
export function isInitial({ type, commit }: Message): boolean {
  return isVoteRequest({ type }) || (type === 'heartbeat' && commit === 0);
}

export function isVoteRequest({ type }: Pick<Message, 'type'>): boolean {
  return type === 'requestVote' || type === 'requestPreVote';
}

/**
 * Decides by what this store has and had (TiKV's `on_raft_message` for absent peers).
 * @param present the peer of the region that is here, when it is another one
 */
export function judgeContact(
  event: RaftEvent,
  storeId: number,
  meta: StoreMeta,
  present: metapb.Peer | undefined,
): Contact {
  const { regionId, fromPeer, toPeer, message, regionEpoch, startKey, endKey } = event;
  if (toPeer.storeId !== storeId) return drop('it is for another store');
  if (present !== undefined) {
    if (toPeer.id < present.id) {
      const region = meta.region(regionId);
      const stranger = region !== undefined && !region.peers.some(({ id }) => id === fromPeer.id);
      return stranger && isVoteRequest(message) && isEpochStale(regionEpoch, epochOf(region))
        ? { do: 'tellGone', region, target: undefined }
        : drop('a newer peer is here');
    }
    return isInitial(message) ? { do: 'replace' } : drop('an older peer is here');
  }
  const tombstone = meta.tombstone(regionId);
  if (tombstone !== undefined && tombstone.peer >= toPeer.id) {
    const { region, target } = tombstone;
    const stale = isEpochStale(regionEpoch, epochOf(region)) || target !== undefined;
    const member = region.peers.some(({ id }) => id === fromPeer.id);
    if (isVoteRequest(message) && stale && (!member || target !== undefined))
      return { do: 'tellGone', region, target };
    return drop('the peer was here and is gone');
  }
  if (!isInitial(message)) return drop('it makes no peer');
  if (meta.isComing(regionId)) return { do: 'park' };
  // What was merged into the region makes room for its snapshot.
  if (meta.blocking({ id: regionId, startKey, endKey, regionEpoch }).length > 0) return { do: 'park' };
  return toPeer.id <= meta.collectedThrough ? { do: 'confirm' } : { do: 'create' };
}
