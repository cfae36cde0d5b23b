import { type OperatorPlan, Priority } from '../../cluster/scheduler/placement/operator.js';
import type { Step } from '../../cluster/scheduler/placement/steps.js';
import { metapb } from '../../storage/proto/index.js';
import { PlacementWorld } from './placement-world.js';

const { PeerRole } = metapb;

/** A world that does nothing by itself, where leaders are told but do nothing either. */
export class Idle {
  readonly world: PlacementWorld;
  readonly id: number;

  constructor(stores: readonly number[] = [1, 2, 3], config = {}) {
    this.world = new PlacementWorld(1, { haltScheduling: true, ...config });
    this.world.addStores(6);
    this.id = this.world.addRegion({ stores });
  }

  get operators() {
    return this.world.coordinator.operators;
  }

  get state(): string | undefined {
    const { operators } = this;
    return (
      operators.of(this.id)?.state ??
      operators.ended.find(({ operator }) => operator.regionId === this.id)?.state
    );
  }

  get reason(): string {
    return this.operators.ended[0]?.operator.reason ?? '';
  }

  add(steps: readonly Step[], more: Partial<OperatorPlan> = {}): string | undefined {
    const plan: OperatorPlan = { kind: 'region', by: 'spec', priority: Priority.normal, steps, ...more };
    return this.operators.add([{ plan, report: this.world.report(this.id) }]);
  }

  /** What a heartbeat of the region is answered with, the region's peers and epoch being these. */
  tell(
    peers: readonly (readonly [store: number, role?: metapb.PeerRole])[],
    raised: { readonly confVer?: number; readonly version?: number } = {},
    more: { readonly leader?: number; readonly pending?: readonly number[] } = {},
  ) {
    const { world, id } = this;
    const region = world.region(id);
    const { confVer = 0, version = 0 } = region.regionEpoch ?? {};
    const next: metapb.Region = {
      ...region,
      regionEpoch: { confVer: confVer + (raised.confVer ?? 0), version: version + (raised.version ?? 0) },
      peers: peers.map(
        ([storeId, role = PeerRole.Voter]) =>
          region.peers.find((peer) => peer.storeId === storeId && peer.role === role) ?? {
            id: 1_000 + storeId,
            storeId,
            role,
          },
      ),
    };
    world.tree.put(next);
    const leader = next.peers.find(({ storeId }) => storeId === (more.leader ?? world.leaderOf(id)));
    const pendingPeers = next.peers.filter(({ storeId }) => more.pending?.includes(storeId));
    const report = {
      ...world.report(id),
      region: next,
      pendingPeers,
      leader: leader ?? world.report(id).leader,
    };
    world.view.put(report);
    return world.coordinator.heard(report);
  }

  influences(): number[] {
    return [...this.world.stores.keys()].flatMap((store) => {
      const { replicas, leaders, size, leaderSize } = this.operators.influence(store);
      return [replicas, leaders, size, leaderSize];
    });
  }

  get weighs(): boolean {
    return this.influences().some((one) => one !== 0);
  }
}
