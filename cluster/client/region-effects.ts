import type { metapb } from '../../storage/proto/index.js';
import { TroupeError } from '../errors.js';
import type { Deadline } from './deadline.js';
import type { ChangeCall, Changed } from './region-change.js';
import { type RegionInfo, regionInfo } from './region-info.js';
import { refusal } from './region-refusals.js';

/**
 * Looks again and again until the effect of a change shows.
 * @param look what it has come to, or in words what must still come true
 * @throws TroupeError `timeout` at the deadline, which says what was still awaited; and what `look` throws
 */
export async function awaitEffect<T extends object>(
  regionId: number,
  deadline: Deadline,
  look: () => Promise<T | string>,
): Promise<T> {
  let awaited = 'the scheduler hears of it';
  for (let attempt = 1; ; attempt++) {
    const seen = await look().catch((error: unknown) => {
      if (deadline.passed && error instanceof TroupeError && error.code === 'unavailable') return awaited;
      throw error;
    });
    if (typeof seen !== 'string') return seen;
    awaited = seen;
    if (deadline.passed) {
      throw new TroupeError(
        'timeout',
        `Within ${Math.round(deadline.timeout)} ms it did not come to this: ${awaited}. The change was accepted and goes on: \`troupe region show ${regionId}\` tells how far it is.`,
      );
    }
    await deadline.pause(attempt);
  }
}

/**
 * Waits until the scheduler knows the region as the change has left it, and more.
 * @param missing in words what must still come true of the region as the scheduler knows it; `undefined` for nothing
 * @returns the region; as its leader told it when the call does not wait
 * @throws TroupeError `timeout`; `conflict` when the region is gone by then
 */
export async function awaitRegion(
  { parts, deadline, wait }: ChangeCall,
  changed: Changed,
  missing: (view: RegionInfo) => string | undefined | Promise<string | undefined>,
): Promise<RegionInfo> {
  const [made] = changedRegions(changed);
  if (!wait) return made;
  return awaitEffect(made.id, deadline, async () => {
    const { region, ...told } = await parts.scheduler.getRegionById(made.id, deadline.terms);
    if (region === undefined) throw changedMeanwhile(made.id, 'it was merged into another region');
    const view = regionInfo({ region, ...told });
    const { confVer, version } = view.epoch;
    if (confVer < made.epoch.confVer || version < made.epoch.version) return 'the scheduler hears of it';
    return (await missing(view)) ?? view;
  });
}

/** For a region that others have changed so much that the effect cannot show any more. */
export function changedMeanwhile(regionId: number, how: string): TroupeError {
  return refusal('changed-meanwhile', `The change of region ${regionId} was made, but meanwhile ${how}.`);
}

/** What the leader said of the region, or of its parts. */
export function changedRegions({ regions, before, leaderStore }: Changed): [RegionInfo, ...RegionInfo[]] {
  const info = (region: metapb.Region): RegionInfo => {
    const leader =
      region.id === before.id ? region.peers.find(({ storeId }) => storeId === leaderStore) : undefined;
    return regionInfo({ region, leader });
  };
  const [first = before, ...rest] = regions;
  return [info(first), ...rest.map(info)];
}
