import type { Random } from '../../actors/index.js';

/** How much each change of a region is liked before a seed's own taste. */
const LIKED = {
  split: 4,
  halve: 1,
  merge: 4,
  addPeer: 3,
  addLearner: 2,
  promote: 2,
  demote: 1,
  remove: 2,
  removeLeader: 0.7,
  replace: 3,
  swapRoles: 0.7,
  leave: 1,
  transfer: 2,
  again: 1.5,
  elsewhere: 0.3,
} as const;

export type RegionAct = keyof typeof LIKED;

/** Kinds of seeds: what they do much more of than others. */
const STYLES: readonly (readonly RegionAct[])[] = [
  [],
  ['split', 'halve'],
  ['split', 'merge'],
  ['merge', 'replace', 'transfer'],
  ['addPeer', 'addLearner', 'promote', 'demote', 'remove', 'removeLeader', 'replace', 'swapRoles', 'leave'],
];
const MUCH = 4;
/** Share of seeds whose regions stay as they are. */
const UNCHANGED = 0.1;

/** How much a seed likes each change of a region; `undefined` for none. */
export function regionTasteOf(random: Random): Readonly<Record<RegionAct, number>> | undefined {
  const taste: Record<RegionAct, number> = { ...LIKED };
  for (const act of Object.keys(LIKED) as RegionAct[]) taste[act] *= random();
  const style = STYLES[Math.floor(random() * STYLES.length)] ?? [];
  for (const act of style) taste[act] *= MUCH;
  return random() < UNCHANGED ? undefined : taste;
}
