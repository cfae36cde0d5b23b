import { check } from '../../cluster/scheduler/placement/checkers/index.js';
import { diagnose, isUntouchable } from '../../cluster/scheduler/placement/diagnosis.js';
import type { Proposal } from '../../cluster/scheduler/placement/operators.js';
import type { Scheduling } from '../../cluster/scheduler/placement/schedulers/scheduling.js';
import { sentenceOf } from '../../cluster/scheduler/placement/steps.js';
import { NEW_REGION, type RegionState, regionAfter } from '../../machines/index.js';
import type { PlacementWorld } from './placement-world.js';

/** What a world's checkers and schedulers would do about one thing, without letting them. */

export function stateIn(world: PlacementWorld, id: number): RegionState {
  return diagnose(world.view, world.report(id)).reduce(regionAfter, NEW_REGION);
}

/** The checkers' plans for a region: who wants it, and the steps. */
export function checked(world: PlacementWorld, id: number, calm: (region: number) => boolean = () => true) {
  const { view, coordinator } = world;
  return check(view, coordinator.operators, world.report(id), stateIn(world, id), ({ region }) =>
    calm(region.id),
  );
}

/** The first of these in words: `add-missing: add a learner on store 3, then promote the peer on store 3`. */
export function inWords([proposal]: readonly Proposal[]): string | undefined {
  if (proposal === undefined) return undefined;
  return `${proposal.plan.by}: ${proposal.plan.steps.map(sentenceOf).join(', then ')}`;
}

export function mending(world: PlacementWorld, id: number): string | undefined {
  return inWords(checked(world, id));
}

/** What schedulers decide by, as the coordinator has it. @param random from 0 up to 1 */
export function schedulingOf(world: PlacementWorld, random: () => number): Scheduling {
  const { view, coordinator } = world;
  const states = () => world.tree.all().map(({ id }) => [id, stateIn(world, id)] as const);
  return {
    view,
    operators: coordinator.operators,
    random,
    mayMove: (report) => !isUntouchable(stateIn(world, report.region.id), report),
    isHot: ({ region }) => stateIn(world, region.id).load === 'hot',
    hotRegions: () => states().flatMap(([id, { load }]) => (load === 'hot' ? [id] : [])),
  };
}
