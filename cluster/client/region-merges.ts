import { raft_cmdpb } from '../../storage/proto/index.js';
import { TroupeError } from '../errors.js';
import { type ChangeCall, type Changed, changeRegion } from './region-change.js';
import { awaitEffect, changedRegions } from './region-effects.js';
import { epochOf, type RegionInfo, regionInfo, unknownRegion } from './region-info.js';
import { refusal } from './region-refusals.js';

/**
 * Merges a region into its neighbour.
 * @returns the region that has the keys of both; the source, as it is being merged, when the call does not wait
 * @throws TroupeError as `changeRegion` does, and `conflict` when the merge was rolled back
 */
export async function mergeRegions(
  call: ChangeCall,
  sourceId: number,
  targetId: number,
): Promise<RegionInfo> {
  if (sourceId === targetId) {
    throw new TroupeError(
      'invalid-argument',
      `Region ${sourceId} cannot be merged into itself: name a neighbour.`,
    );
  }
  const { scheduler } = call.parts;
  const changed = await changeRegion(call, {
    ref: { id: sourceId },
    command: async () => {
      const { region: target } = await scheduler.getRegionById(targetId, call.deadline.terms);
      if (target === undefined) throw unknownRegion(targetId);
      return raft_cmdpb.AdminRequest.from({
        cmdType: raft_cmdpb.AdminCmdType.PrepareMerge,
        prepareMerge: { minIndex: 0, target },
      });
    },
    // While it is being merged, and when it is merged or is back, it has a higher version.
    stands: (now, before) => now === undefined || epochOf(now).version > epochOf(before).version,
  });
  return call.wait ? awaitMerge(call, changed, targetId) : changedRegions(changed)[0];
}

/** Waits until the source is gone and its keys are in another region. */
function awaitMerge(
  { parts, deadline }: ChangeCall,
  { regions, before, leaderStore }: Changed,
  targetId: number,
): Promise<RegionInfo> {
  const [merging] = leaderStore === undefined ? [] : regions;
  const version = merging === undefined ? epochOf(before).version + 1 : epochOf(merging).version;
  return awaitEffect(before.id, deadline, async () => {
    const { region: source } = await parts.scheduler.getRegionById(before.id, deadline.terms);
    if (source !== undefined && epochOf(source).version > version) {
      throw refusal(
        'merge-rolled-back',
        `Region ${before.id} was not merged into region ${targetId}: the merge was rolled back, for the target changed meanwhile. Look at both, and try again.`,
      );
    }
    const { region: target, ...told } = await parts.scheduler.getRegion(before.startKey, deadline.terms);
    if (source !== undefined || target === undefined || epochOf(target).version <= version) {
      return `region ${before.id} is merged into region ${targetId}`;
    }
    return regionInfo({ region: target, ...told });
  });
}
