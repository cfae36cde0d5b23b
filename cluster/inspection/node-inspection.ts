/** What a node of the cluster shows to inspectors, whatever it is: docs/decisions/inspection.md. */

import type { AnyActorRef } from 'xstate';
import type { ActorSystem, Guest, InspectionOptions, StateItem } from '../../actors/index.js';
import { statusOf } from '../../machines/raft/status.js';
import { chartOf, isMachine } from '../charts/read-machine.js';
import type { RaftGroup } from '../raft/group.js';
import type { RaftItem } from './items.js';

/** Contexts of the house hold live parts: these say what is shown instead. */
const CONTEXTS: ReadonlyMap<string, (context: unknown) => unknown> = new Map([
  ['raft', (context: unknown) => raftContext(context)],
]);

/** How nodes are inspected. Bytes are shown as their number everywhere, so neither keys nor values leave a node here. */
export function nodeInspection(wallClock: () => number = Date.now): InspectionOptions {
  return {
    contexts: CONTEXTS,
    chart: (logic) => (isMachine(logic) ? chartOf(logic) : undefined),
    wallClock,
  };
}

type RaftCore = Parameters<typeof statusOf>[0];

function raftContext(context: unknown): unknown {
  const { core } = context as { readonly core: RaftCore };
  const { term, vote, lead, commit, applied, firstIndex, lastIndex, configuration, progress, transferee } =
    statusOf(core);
  const members = [...progress].map(([id, { match, next, state, live }]) => ({
    id,
    match,
    next,
    state,
    live,
  }));
  return {
    term,
    vote,
    lead,
    commit,
    applied,
    firstIndex,
    lastIndex,
    transferee,
    configuration: { ...configuration },
    members,
  };
}

/** Shows the groups of a node: each one's role machine as a guest, and its position. */
export function showGroups(
  system: ActorSystem,
  groups: () => Iterable<{ readonly region: number; readonly group: RaftGroup; readonly path: string }>,
): void {
  system.inspection.addGuests(function* (): Iterable<Guest> {
    for (const { group, path } of groups()) {
      if (group.stopped) continue;
      const actor: AnyActorRef = group.raft.actor;
      yield { path: `${path}/raft`, actor, showAll: (all) => group.raft.showAll(all) };
    }
  });
  system.inspection.addState('raft', function* (): Iterable<StateItem> {
    for (const { region, group } of groups()) {
      if (group.stopped) continue;
      const { raft } = group;
      const { role, term, commit, lastIndex } = raft;
      const seen = `${role} ${term} ${group.leader} ${lastIndex} ${commit} ${group.applied} ${group.asleep}`;
      yield { key: `${region}`, seen, item: () => raftItem(region, group) };
    }
  });
}

function raftItem(region: number, group: RaftGroup): RaftItem {
  const { role, term, lead, commit, firstIndex, lastIndex } = group.raft;
  return {
    region,
    peer: group.peerId,
    role,
    term,
    lead,
    first: firstIndex,
    last: lastIndex,
    commit,
    applied: group.applied,
    asleep: group.asleep,
  };
}
