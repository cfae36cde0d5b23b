import type { VirtualClock } from '../../actors/index.js';
import { sameRegion } from '../../cluster/region-tree.js';
import { compareBytes, escapeKey } from '../../storage/keys.js';
import { type metapb, raft_cmdpb } from '../../storage/proto/index.js';
import type { RegionOperator } from './region-operator.js';
import { isJoint } from './region-steps.js';
import type { StoreMachine } from './store-groups.js';

export interface RegionPeaceParts {
  readonly operator: RegionOperator;
  readonly stores: readonly StoreMachine[];
  readonly world: VirtualClock;
}

const LOOK_MS = 250;
const LEAVE = { cmdType: raft_cmdpb.AdminCmdType.ChangePeerV2, changePeerV2: { changes: [] } };

/**
 * What a cluster must come to by itself when nobody disturbs it: every merge has ended, every region has a leader and all of
 * its peers, at one applied index, and no store has any other; and the scheduler knows it so. Joint memberships are left
 * by whoever entered them.
 */
export class RegionPeace {
  /** What was missing when last looked at. */
  missing = 'nothing was looked at';
  /** As the scheduler has them, in order. */
  regions: readonly metapb.Region[] = [];
  readonly #parts: RegionPeaceParts;

  constructor(parts: RegionPeaceParts) {
    this.#parts = parts;
  }

  /** Resolves when nothing is missing. */
  async come(): Promise<void> {
    for (;;) {
      const missing = await this.#look();
      if (missing === undefined) return;
      this.missing = missing;
      await new Promise<void>((resolve) => void this.#parts.world.setTimeout(resolve, LOOK_MS));
    }
  }

  async #look(): Promise<string | undefined> {
    const { operator } = this.#parts;
    for (const led of operator.led()) {
      if (led.merging) return `region ${led.region.id} still waits to be merged`;
      if (!isJoint(led.region)) continue;
      await operator.change(led, LEAVE);
      return `region ${led.region.id} has not left its joint membership`;
    }
    try {
      this.regions = await operator.scan();
    } catch (error) {
      return `the scheduler does not answer: ${String(error)}`;
    }
    for (const { region, changing } of operator.led())
      if (changing) return `a change of region ${region.id} is under way`;
    return gapOf(this.regions) ?? this.#unled() ?? this.#orphan() ?? this.#absent();
  }

  #unled(): string | undefined {
    for (const region of this.regions) {
      const led = this.#parts.operator.find(region.id);
      if (led === undefined) return `region ${region.id} has no leader`;
      if (!sameRegion(led.region, region))
        return `the scheduler has ${describe(region)}, its leader ${describe(led.region)}`;
    }
    return undefined;
  }

  /** No store has a peer that its region does not name. */
  #orphan(): string | undefined {
    for (const { name, node } of this.#parts.stores) {
      for (const { region: own, peerId, initialised } of node?.replicas.values() ?? []) {
        const region = this.regions.find(({ id }) => id === own.id);
        const named = region?.peers.find(({ storeId }) => name === `store-${storeId}`);
        const peer = `peer ${peerId} of region ${own.id} on ${name}`;
        if (named?.id !== peerId)
          return `${peer} is an orphan: ${region === undefined ? 'there is no such region' : `the region has ${named?.id ?? 'none'} there`}`;
        if (!initialised) return `${peer} still waits for its region`;
      }
    }
    return undefined;
  }

  /** Each region's peers stand where it says, and have applied the same. */
  #absent(): string | undefined {
    const { stores } = this.#parts;
    for (const { id, peers } of this.regions) {
      const applied = new Set<number>();
      for (const { id: peerId, storeId } of peers) {
        const store = stores.find(({ name }) => name === `store-${storeId}`);
        const replica = store?.node?.replicas.get(id);
        const group = replica?.raftGroup;
        if (replica?.peerId !== peerId || group === undefined)
          return `peer ${peerId} of region ${id} is not on store-${storeId}`;
        if (group.stopped) return `peer ${peerId} of region ${id} on store-${storeId} has stopped`;
        if (group.applied !== group.raft.commit)
          return `peer ${peerId} of region ${id} on store-${storeId} has applied ${group.applied} of ${group.raft.commit}`;
        applied.add(group.applied);
      }
      if (applied.size > 1) return `the peers of region ${id} have applied ${[...applied].join(', ')}`;
    }
    return undefined;
  }
}

/** Where regions, in order, do not tile the key space. */
function gapOf(regions: readonly metapb.Region[]): string | undefined {
  let end: Uint8Array | undefined = new Uint8Array(0);
  for (const region of regions) {
    if (end === undefined || compareBytes(region.startKey, end) !== 0)
      return `${describe(region)} does not begin at "${escapeKey(end ?? new Uint8Array(0))}", where the one before it ends`;
    end = region.endKey.length === 0 ? undefined : region.endKey;
  }
  return end === undefined ? undefined : `no region holds the keys from "${escapeKey(end)}" on`;
}

function describe({ id, startKey, endKey, regionEpoch, peers }: metapb.Region): string {
  const { confVer = 0, version = 0 } = regionEpoch ?? {};
  const members = peers.map((peer) => `${peer.id} on ${peer.storeId} (${peer.role})`).join(', ');
  return `region ${id} ["${escapeKey(startKey)}", "${escapeKey(endKey)}") at ${confVer}/${version} with ${members}`;
}
