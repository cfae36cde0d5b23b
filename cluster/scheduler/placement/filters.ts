import type { ClusterView, StoreStanding } from './view.js';

/** Which stores may give, and take, replicas and leaders. */

/** Whether a replica may be taken from it, to make the cluster even. */
export function givesReplicas({ state }: StoreStanding): boolean {
  return state === 'up' || state === 'offline';
}

/** Whether it may be given a replica, as far as it itself is concerned. */
export function takesReplicas(view: ClusterView, standing: StoreStanding): boolean {
  const { config } = view;
  const { state, stats, load } = standing;
  return (
    state === 'up' &&
    stats?.isBusy !== true &&
    !isLowOnSpace(view, standing) &&
    load.pending.size < config.maxPendingPeerCount &&
    snapshotsOf(standing) < config.maxSnapshotCount
  );
}

export function givesLeaders({ state }: StoreStanding): boolean {
  return state === 'up' || state === 'offline';
}

/** Whether it may be made leader; a scheduler that evicts leaders from it is asked elsewhere. */
export function takesLeaders({ state, stats }: StoreStanding): boolean {
  return state === 'up' && stats?.isBusy !== true;
}

/** Whether its peers do not answer, though their leaders may not have said so yet. */
export function isSilent({ state }: StoreStanding): boolean {
  return state === 'disconnected' || state === 'down';
}

/** Whether no replica is to stay there: it is being drained, or is gone for good. */
export function isLeft({ state }: StoreStanding): boolean {
  return state === 'offline' || state === 'tombstone';
}

/** Whether its replicas are to be replaced, for it has been silent so long. */
export function isLost(view: ClusterView, { state, silence }: StoreStanding): boolean {
  return (state === 'down' || state === 'disconnected') && silence > view.config.maxStoreDownTime;
}

function isLowOnSpace({ config }: ClusterView, { stats }: StoreStanding): boolean {
  if (stats === undefined || stats.capacity === 0) return false;
  return stats.available < stats.capacity * (1 - config.lowSpaceRatio);
}

function snapshotsOf({ stats }: StoreStanding): number {
  if (stats === undefined) return 0;
  return Math.max(stats.sendingSnapCount, stats.receivingSnapCount, stats.applyingSnapCount);
}
