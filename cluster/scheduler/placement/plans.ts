import { takesLeaders } from './filters.js';
import { isDown, isPending, learnersOf, peerOn, type RegionReport, votersOf } from './region-report.js';
import type { Step } from './steps.js';
import type { ClusterView } from './view.js';

/**
 * Steps that give a region voters on exactly these stores. A leader that goes hands over first, new peers catch up as
 * learners before they vote, and where some come while others go they change places in one joint change.
 * @param leader the store that is to lead in the end, where it matters
 * @returns no steps when nothing is to be done; `undefined` when nobody could lead meanwhile
 */
export function stepsTo(
  view: ClusterView,
  report: RegionReport,
  stores: readonly number[],
  leader?: number,
): readonly Step[] | undefined {
  const { region } = report;
  const before = votersOf(region).map(({ storeId }) => storeId);
  const coming = stores.filter((store) => !before.includes(store));
  const going = before.filter((store) => !stores.includes(store));
  const strangers = learnersOf(region).filter(({ storeId }) => !stores.includes(storeId));
  const steps: Step[] = [];
  let leads = report.leader.storeId;
  const successor = going.includes(leads)
    ? nextLeader(
        view,
        report,
        before.filter((store) => stores.includes(store)),
      )
    : leads;
  if (successor !== undefined && successor !== leads) {
    steps.push({ kind: 'transferLeader', store: successor });
    leads = successor;
  }
  for (const store of coming)
    if (peerOn(region, store) === undefined) steps.push({ kind: 'addLearner', store });
  const joint = successor !== undefined && coming.length > 0 && going.length > 0;
  if (joint) {
    steps.push({ kind: 'enterJoint', promoted: coming, demoted: going });
    steps.push({ kind: 'leaveJoint', changes: coming.length + going.length });
  } else {
    for (const store of coming) steps.push({ kind: 'promote', store });
    if (successor === undefined) {
      const [first] = coming;
      if (first === undefined) return undefined;
      steps.push({ kind: 'transferLeader', store: first });
      leads = first;
    }
  }
  for (const store of going) steps.push({ kind: 'removePeer', store });
  for (const { storeId } of strangers) steps.push({ kind: 'removePeer', store: storeId });
  if (leader !== undefined && leader !== leads) steps.push({ kind: 'transferLeader', store: leader });
  return steps;
}

/** The voter among these stores that leads least, answers, and has caught up. */
export function nextLeader(
  view: ClusterView,
  report: RegionReport,
  stores: readonly number[],
): number | undefined {
  const fit = stores.flatMap((id) => {
    const peer = peerOn(report.region, id);
    const standing = view.store(id);
    if (peer === undefined || standing === undefined || id === report.leader.storeId) return [];
    if (isPending(report, peer.id) || isDown(report, peer.id)) return [];
    return takesLeaders(standing) && !view.rejectsLeaders(id) ? [standing] : [];
  });
  return fit.sort((a, b) => a.load.leaderCount - b.load.leaderCount || a.id - b.id)[0]?.id;
}
