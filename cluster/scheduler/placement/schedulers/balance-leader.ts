import { givesLeaders, takesLeaders } from '../filters.js';
import { Priority } from '../operator.js';
import type { Operators, Proposal } from '../operators.js';
import { isDown, isPending, peerOn, type RegionReport, votersOf } from '../region-report.js';
import type { ClusterView, StoreStanding } from '../view.js';
import type { Scheduling } from './scheduling.js';

/** Regions of a store that are looked at in one round. */
const TRIES = 10;
/** Leaders by which two stores must differ at least, after the move and with it. */
const LEAST_DIFFERENCE = 1;

/**
 * Moves leadership from a store that leads many regions to one that leads few (PD's balance-leader, by count): out of the
 * store with most, or into the one with least.
 */
export function balanceLeader({ view, operators, random, mayMove }: Scheduling): readonly Proposal[] {
  if (operators.count('leader') >= view.config.leaderScheduleLimit) return [];
  const stores = view
    .stores()
    .map((standing) => ({ standing, count: leadersOf(operators, standing) }))
    .sort((a, b) => b.count - a.count || a.standing.id - b.standing.id)
    .map(({ standing }) => standing);
  const sources = stores.filter((standing) => mayGive(view, standing));
  const targets = stores
    .filter((standing) => takesLeaders(standing) && !view.rejectsLeaders(standing.id))
    .reverse();
  for (let i = 0; i < Math.max(sources.length, targets.length); i++) {
    const found =
      out(view, operators, sources[i], random, mayMove) ?? into(view, operators, targets[i], random, mayMove);
    if (found !== undefined) return [found];
  }
  return [];
}

type MayMove = Scheduling['mayMove'];

function out(
  view: ClusterView,
  operators: Operators,
  source: StoreStanding | undefined,
  random: () => number,
  mayMove: MayMove,
): Proposal | undefined {
  for (let i = 0; source !== undefined && i < TRIES; i++) {
    const report = view.report(source.load.leaders.pick(random) ?? 0);
    if (report === undefined) return undefined;
    if (!mayMove(report)) continue;
    const target = votersOf(report.region)
      .flatMap(({ storeId }) => view.store(storeId) ?? [])
      .filter((standing) => standing.id !== source.id && mayLead(view, report, standing))
      .sort((a, b) => leadersOf(operators, a) - leadersOf(operators, b) || a.id - b.id)[0];
    if (target !== undefined && pays(operators, source, target)) return transfer(report, target);
  }
  return undefined;
}

function into(
  view: ClusterView,
  operators: Operators,
  target: StoreStanding | undefined,
  random: () => number,
  mayMove: MayMove,
): Proposal | undefined {
  for (let i = 0; target !== undefined && i < TRIES; i++) {
    const report = view.report(target.load.followers.pick(random) ?? 0);
    if (report === undefined) return undefined;
    const source = view.store(report.leader.storeId);
    if (source === undefined || !mayGive(view, source) || !mayMove(report) || !mayLead(view, report, target))
      continue;
    if (pays(operators, source, target)) return transfer(report, target);
  }
  return undefined;
}

function pays(operators: Operators, source: StoreStanding, target: StoreStanding): boolean {
  return leadersOf(operators, source) - 1 >= leadersOf(operators, target) + LEAST_DIFFERENCE;
}

function mayGive(view: ClusterView, standing: StoreStanding): boolean {
  return givesLeaders(standing) && !view.granted.has(standing.id);
}

function mayLead(view: ClusterView, report: RegionReport, standing: StoreStanding): boolean {
  const peer = peerOn(report.region, standing.id);
  return (
    peer !== undefined &&
    takesLeaders(standing) &&
    !view.rejectsLeaders(standing.id) &&
    !isPending(report, peer.id) &&
    !isDown(report, peer.id)
  );
}

/** Leaders, those on their way counted. */
export function leadersOf(operators: Operators, { id, load }: StoreStanding): number {
  return load.leaderCount + operators.influence(id).leaders;
}

function transfer(report: RegionReport, { id }: StoreStanding): Proposal {
  const steps = [{ kind: 'transferLeader', store: id }] as const;
  return { plan: { kind: 'leader', by: 'balance-leader', priority: Priority.normal, steps }, report };
}
