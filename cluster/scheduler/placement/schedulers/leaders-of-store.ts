import { takesLeaders } from '../filters.js';
import { Priority } from '../operator.js';
import type { Proposal } from '../operators.js';
import { nextLeader } from '../plans.js';
import { isDown, isPending, peerOn, votersOf } from '../region-report.js';
import type { Scheduling } from './scheduling.js';

/** Leaders moved in one round. */
const BATCH = 4;

/** Moves every leader away from a store, before it is worked on for example. */
export function evictLeaders({ view, operators, mayMove }: Scheduling, storeId: number): readonly Proposal[] {
  if (operators.count('leader') >= view.config.leaderScheduleLimit) return [];
  const proposals: Proposal[] = [];
  for (const id of view.loadOf(storeId).leaders) {
    if (proposals.length >= BATCH) break;
    const report = view.report(id);
    if (report === undefined || operators.of(id) !== undefined || !mayMove(report)) continue;
    const voters = votersOf(report.region).map((peer) => peer.storeId);
    const store = nextLeader(view, report, voters);
    if (store === undefined) continue;
    const steps = [{ kind: 'transferLeader', store }] as const;
    proposals.push({ plan: { kind: 'leader', by: 'evict-leader', priority: Priority.high, steps }, report });
  }
  return proposals;
}

/** Makes a store lead every region of which it has a voter. */
export function grantLeaders({ view, operators, mayMove }: Scheduling, storeId: number): readonly Proposal[] {
  const standing = view.store(storeId);
  if (standing === undefined || !takesLeaders(standing) || view.rejectsLeaders(storeId)) return [];
  if (operators.count('leader') >= view.config.leaderScheduleLimit) return [];
  const proposals: Proposal[] = [];
  for (const id of view.loadOf(storeId).followers) {
    if (proposals.length >= BATCH) break;
    const report = view.report(id);
    const peer = report && peerOn(report.region, storeId);
    if (report === undefined || peer === undefined || operators.of(id) !== undefined) continue;
    if (isPending(report, peer.id) || isDown(report, peer.id) || !mayMove(report)) continue;
    const steps = [{ kind: 'transferLeader', store: storeId }] as const;
    proposals.push({ plan: { kind: 'leader', by: 'grant-leader', priority: Priority.high, steps }, report });
  }
  return proposals;
}
