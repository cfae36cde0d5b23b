import type { AnyStateNode } from 'xstate';
import { raftMachine } from '../../../machines/index.js';

/** Every change of role that the chart has an arrow for, as `follower to candidate`; arrows of the root are everyone's. */
export function roleEdges(): Set<string> {
  const roles = Object.values(raftMachine.root.states);
  const edges = new Set<string>();
  const collect = (role: string, node: AnyStateNode): void => {
    const arrows = [...node.transitions.values()].flat();
    for (const target of arrows.flatMap((arrow) => arrow.target ?? []))
      edges.add(`${role} to ${target.path[0]}`);
    for (const child of Object.values(node.states)) collect(role, child);
  };
  for (const role of roles) {
    collect(role.key, role);
    for (const arrows of raftMachine.root.transitions.values()) {
      for (const target of arrows.flatMap((arrow) => arrow.target ?? []))
        edges.add(`${role.key} to ${target.path[0]}`);
    }
  }
  return edges;
}
