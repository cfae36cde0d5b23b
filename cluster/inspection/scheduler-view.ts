/** What the scheduler that leads shows of its cluster to inspectors. */

import type { ActorSystem, Guest, StateItem } from '../../actors/index.js';
import { escapeKey } from '../../storage/keys.js';
import type { metapb } from '../../storage/proto/index.js';
import { roleName } from '../client/region-info.js';
import type { Placement } from '../scheduler/placement/index.js';
import { isDown, isPending } from '../scheduler/placement/region-report.js';
import { schedulerName } from '../scheduler/placement/schedulers/index.js';
import { sentenceOf } from '../scheduler/placement/steps.js';
import type { SchedulerState } from '../scheduler/state.js';
import type { StoreWatch } from '../scheduler/store-watch.js';
import type { OperatorItem, PlacementItem, RegionItem, StoreItem } from './items.js';

export interface SchedulerViewParts {
  readonly system: ActorSystem;
  readonly state: SchedulerState;
  readonly watch: StoreWatch;
  readonly placement: Placement;
  /** Only then is what it knows worth showing. */
  readonly leads: () => boolean;
}

/** Bytes of a key that are told for sorting. */
const SORTED_BYTES = 24;

export function showScheduler({ system, state, watch, placement, leads }: SchedulerViewParts): void {
  const { view, coordinator } = placement;
  const { inspection } = system;
  const whenLeading = (items: () => Iterable<StateItem>) =>
    function* (): Iterable<StateItem> {
      if (leads()) yield* items();
    };

  inspection.addGuests(function* (): Iterable<Guest> {
    if (!leads()) return;
    for (const [id, actor] of watch.actors()) yield { path: `store-watch/${id}`, actor };
    for (const { regionId, actor } of coordinator.operators.all())
      yield { path: `operator/${regionId}`, actor };
  });

  inspection.addState(
    'stores',
    whenLeading(function* () {
      for (const { id, store, state: seen, stats, load } of view.stores()) {
        const item = (): StoreItem => ({
          id,
          node: store.address,
          pid: store.pid,
          state: seen,
          capacity: stats?.capacity ?? 0,
          used: stats?.usedSize ?? 0,
          regions: load.regionCount,
          leaders: load.leaderCount,
        });
        yield { key: String(id), seen: Symbol(), item };
      }
    }),
  );

  inspection.addState(
    'regions',
    whenLeading(function* () {
      for (const region of state.regions.all()) {
        const report = view.report(region.id);
        const chart = coordinator.stateOf(region.id);
        const item = (): RegionItem => regionItem(report?.region ?? region, placement);
        // A report is replaced as a whole, and charts are shared by all regions in that state.
        yield { key: String(region.id), seen: seenOf(report ?? region, chart), item };
      }
    }),
  );

  inspection.addState(
    'operators',
    whenLeading(function* () {
      for (const operator of coordinator.operators.all()) {
        const { regionId, plan, state: now, step } = operator;
        const item = (): OperatorItem => {
          return {
            region: regionId,
            kind: plan.kind,
            by: plan.by,
            state: now,
            steps: plan.steps.map(sentenceOf),
            step,
          };
        };
        yield { key: String(regionId), seen: Symbol(), item };
      }
    }),
  );

  inspection.addState(
    'placement',
    whenLeading(function* () {
      const item = (): PlacementItem => ({
        halted: placement.isHalted,
        schedulers: state.placement.schedulers.map((entry) => ({
          name: schedulerName(entry),
          pausedUntil: entry.pausedUntil,
        })),
      });
      yield { key: 'placement', seen: Symbol(), item };
    }),
  );
}

function regionItem(region: metapb.Region, { view, coordinator }: Placement): RegionItem {
  const report = view.report(region.id);
  const { confVer = 0, version = 0 } = region.regionEpoch ?? {};
  return {
    id: region.id,
    start: escapeKey(region.startKey),
    end: escapeKey(region.endKey),
    startHex: Buffer.from(region.startKey.subarray(0, SORTED_BYTES)).toString('hex'),
    epoch: `${confVer}/${version}`,
    peers: region.peers.map((peer) => ({
      id: peer.id,
      store: peer.storeId,
      role: roleName(peer.role),
      pending: report !== undefined && isPending(report, peer.id),
      down: report !== undefined && isDown(report, peer.id),
    })),
    leader: report?.leader.storeId ?? 0,
    term: report?.term ?? 0,
    size: report?.approximateSize ?? 0,
    keys: report?.approximateKeys ?? 0,
    written: report?.flow.bytesWritten ?? 0,
    read: report?.flow.bytesRead ?? 0,
    state: { ...coordinator.stateOf(region.id) },
  };
}

/** One object for each pair, for as long as both live. */
const pairs = new WeakMap<object, WeakMap<object, object>>();

function seenOf(told: object, chart: object): object {
  let known = pairs.get(told);
  if (known === undefined) {
    known = new WeakMap();
    pairs.set(told, known);
  }
  let pair = known.get(chart);
  if (pair === undefined) {
    pair = {};
    known.set(chart, pair);
  }
  return pair;
}
