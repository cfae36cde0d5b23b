import { RaftGroup } from '../../cluster/raft/group.js';
import type { StoreNode } from '../../cluster/store/index.js';
import type { SimulatedMachine } from './simulated-machine.js';

export type StoreMachine = SimulatedMachine<StoreNode>;

/** Ticks of the base election timeout. */
const ELECTION_TICKS = 10;

/** The Raft groups of a store that is up. */
export function groupsOf({ node }: StoreMachine): RaftGroup[] {
  const groups: RaftGroup[] = [];
  for (const replica of node?.replicas.values() ?? []) {
    if (replica.attached && replica.group instanceof RaftGroup) groups.push(replica.group);
  }
  return groups;
}

/**
 * Lets a store campaign before its time. A process that is paused does nothing, not even this; and where leaders have
 * leases, a peer that may have confirmed one must not vote, for itself either, before it is over.
 */
export function campaign(store: StoreMachine): void {
  if (store.paused) return;
  for (const group of groupsOf(store)) {
    if (group.lease === undefined || ticksSinceLeader(group) >= ELECTION_TICKS) group.campaign();
  }
}

/** Kept inside the core, which tells it to nobody; a spec reaches in. */
function ticksSinceLeader({ raft }: RaftGroup): number {
  return (raft as unknown as { readonly core: { readonly electionElapsed: number } }).core.electionElapsed;
}
