import { metapb } from '../../../../storage/proto/index.js';
import { isLeft, isLost, isSilent } from '../filters.js';
import { allows, highestScore, isIsolated } from '../isolation.js';
import { type OperatorPlan, Priority } from '../operator.js';
import type { Operators } from '../operators.js';
import { nextLeader, stepsTo } from '../plans.js';
import {
  isDown,
  isPending,
  learnersOf,
  peerOn,
  type RegionReport,
  votersOf,
  weightOf,
} from '../region-report.js';
import type { Step } from '../steps.js';
import { bestTarget, distinctOf, scoreOf } from '../targets.js';
import type { ClusterView, StoreStanding } from '../view.js';

/** Plans that give a region the replicas that it is to have; one for each thing that may be wrong with it. */

/** A joint membership that nobody is changing is left; a leader that will not vote then hands over first. */
export function leaveJoint(
  view: ClusterView,
  _operators: Operators,
  report: RegionReport,
): OperatorPlan | undefined {
  const { region, leader } = report;
  const { IncomingVoter, DemotingVoter } = metapb.PeerRole;
  const changes = region.peers.filter(({ role }) => role === IncomingVoter || role === DemotingVoter).length;
  const leave = { kind: 'leaveJoint', changes } as const;
  if (peerOn(region, leader.storeId)?.role !== DemotingVoter)
    return plan('joint-state', Priority.urgent, [leave]);
  const staying = votersOf(region).filter(({ role }) => role !== DemotingVoter);
  const store = nextLeader(
    view,
    report,
    staying.map(({ storeId }) => storeId),
  );
  return store === undefined
    ? undefined
    : plan('joint-state', Priority.urgent, [{ kind: 'transferLeader', store }, leave]);
}

/** A learner becomes a voter where one is wanted, and goes where none is. */
export function settleLearner(
  view: ClusterView,
  operators: Operators,
  report: RegionReport,
): OperatorPlan | undefined {
  const { region } = report;
  const { count } = view.rules.demandOf(region);
  const staying = standingsOf(view, report).filter((one) => !isLeft(one) && !isLost(view, one));
  const wanted = staying.length < count;
  const learners = learnersOf(region);
  const fit = learners.find(({ id, storeId }) => {
    const standing = view.store(storeId);
    return (
      !isPending(report, id) &&
      !isDown(report, id) &&
      standing?.state === 'up' &&
      isPlaced(view, report, others(view, report, storeId), standing)
    );
  });
  if (wanted && fit !== undefined) {
    // Somebody who is lost or leaves makes room for it, as when a replacement was begun under another scheduler.
    const stores = [...staying.map(({ id }) => id), fit.storeId];
    const steps = votersOf(region).length < count ? undefined : stepsTo(view, report, stores);
    return plan('learner', Priority.high, steps ?? [{ kind: 'promote', store: fit.storeId }]);
  }
  // One that is behind may still catch up, unless its store is gone.
  const useless = learners.find(({ id, storeId }) => {
    const standing = view.store(storeId);
    if (!wanted || standing === undefined || isLeft(standing) || isLost(view, standing)) return true;
    return !isPending(report, id) && !isDown(report, id) && standing.state === 'up' && fit === undefined;
  });
  if (useless === undefined) return undefined;
  if (!operators.allows(useless.storeId, -1, weightOf(report))) return undefined;
  return plan('learner', Priority.normal, [{ kind: 'removePeer', store: useless.storeId }]);
}

/** Replaces a peer whose store has been silent too long, or removes it where it is not needed. */
export function replaceDown(
  view: ClusterView,
  operators: Operators,
  report: RegionReport,
): OperatorPlan | undefined {
  const lost = standingsOf(view, report).find((standing) => isLost(view, standing));
  return lost && replace(view, operators, report, lost.id, 'replace-down', Priority.urgent);
}

/** The same of a store that is to be left. */
export function replaceOffline(
  view: ClusterView,
  operators: Operators,
  report: RegionReport,
): OperatorPlan | undefined {
  const leaving = votersOf(report.region).find(({ storeId }) => {
    const standing = view.store(storeId);
    return standing === undefined || isLeft(standing);
  });
  return leaving && replace(view, operators, report, leaving.storeId, 'replace-offline', Priority.high);
}

export function addMissing(
  view: ClusterView,
  operators: Operators,
  report: RegionReport,
): OperatorPlan | undefined {
  const kept = standingsOf(view, report);
  const target = bestTarget(view, operators, report, kept);
  if (target === undefined) return undefined;
  const priority =
    kept.length * 2 <= view.rules.demandOf(report.region).count ? Priority.urgent : Priority.high;
  return planTo(view, report, [...kept, target], 'add-missing', priority);
}

/** The voter that is set apart least goes, of these the one on the fullest store; one that does not answer first. */
export function removeExtra(
  view: ClusterView,
  operators: Operators,
  report: RegionReport,
): OperatorPlan | undefined {
  const standings = standingsOf(view, report);
  const { constraints } = view.rules.demandOf(report.region);
  const ranked = standings.map((standing) => {
    const peer = peerOn(report.region, standing.id);
    return {
      standing,
      rank: [
        isSilent(standing) || (peer !== undefined && isDown(report, peer.id)) ? 0 : 1,
        allows(constraints, standing.store) ? 1 : 0,
        distinctOf(view, standings, standing),
        peer !== undefined && isPending(report, peer.id) ? 0 : 1,
        -scoreOf(operators, standing),
        standing.id,
      ],
    };
  });
  ranked.sort((a, b) => compare(a.rank, b.rank));
  const worst = ranked[0]?.standing;
  if (worst === undefined || !operators.allows(worst.id, -1, weightOf(report))) return undefined;
  return planTo(
    view,
    report,
    standings.filter((one) => one !== worst),
    'remove-extra',
    Priority.normal,
  );
}

/** Moves the replica that breaks a rule or is set apart least, where a store is better. */
export function relocate(
  view: ClusterView,
  operators: Operators,
  report: RegionReport,
): OperatorPlan | undefined {
  const standings = standingsOf(view, report);
  const ranked = standings
    .map((standing) => {
      const rest = standings.filter((one) => one !== standing);
      const distinct = distinctOf(view, rest, standing);
      const placed = isPlaced(view, report, rest, standing);
      return {
        standing,
        rest,
        distinct,
        placed,
        rank: [placed ? 1 : 0, distinct, -scoreOf(operators, standing)],
      };
    })
    .sort((a, b) => compare(a.rank, b.rank));
  const [worst] = ranked;
  if (worst === undefined) return undefined;
  const highest = highestScore(view.config.locationLabels, worst.rest.length);
  if (worst.placed && worst.distinct >= highest) return undefined;
  const target = bestTarget(view, operators, report, worst.rest);
  if (target === undefined) return undefined;
  if (worst.placed && distinctOf(view, worst.rest, target) <= worst.distinct) return undefined;
  return planTo(view, report, [...worst.rest, target], 'relocate', Priority.normal);
}

/** Whether looking for a better place can be of any use. */
export function mayRelocate({ config }: ClusterView): boolean {
  return config.locationLabels.length > 0 || config.rules.length > 0;
}

function replace(
  view: ClusterView,
  operators: Operators,
  report: RegionReport,
  storeId: number,
  by: string,
  priority: Priority,
): OperatorPlan | undefined {
  const rest = others(view, report, storeId);
  if (rest.length >= view.rules.demandOf(report.region).count)
    return planTo(view, report, rest, by, priority);
  const target = bestTarget(view, operators, report, rest);
  return target && planTo(view, report, [...rest, target], by, priority);
}

function planTo(
  view: ClusterView,
  report: RegionReport,
  standings: readonly StoreStanding[],
  by: string,
  priority: Priority,
): OperatorPlan | undefined {
  const steps = stepsTo(
    view,
    report,
    standings.map(({ id }) => id),
  );
  return steps === undefined || steps.length === 0 ? undefined : plan(by, priority, steps);
}

function plan(by: string, priority: Priority, steps: readonly Step[]): OperatorPlan {
  return { kind: 'replica', by, priority, steps };
}

function standingsOf(view: ClusterView, { region }: RegionReport): StoreStanding[] {
  return votersOf(region).flatMap(({ storeId }) => view.store(storeId) ?? []);
}

function others(view: ClusterView, report: RegionReport, storeId: number): StoreStanding[] {
  return standingsOf(view, report).filter(({ id }) => id !== storeId);
}

function isPlaced(
  view: ClusterView,
  { region }: RegionReport,
  rest: readonly StoreStanding[],
  { store }: StoreStanding,
): boolean {
  const { isolationLevel, locationLabels } = view.config;
  return (
    allows(view.rules.demandOf(region).constraints, store) &&
    isIsolated(
      isolationLevel,
      locationLabels,
      rest.map((one) => one.store),
      store,
    )
  );
}

function compare(a: readonly number[], b: readonly number[]): number {
  const place = a.findIndex((value, i) => value !== b[i]);
  return place < 0 ? 0 : (a[place] ?? 0) - (b[place] ?? 0);
}
