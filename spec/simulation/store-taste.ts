import type { Random } from '../../actors/index.js';

/** How much each act is liked before a seed's own taste. */
const LIKED = {
  power: 4,
  powerLeader: 3,
  powerMost: 1,
  powerAll: 0.5,
  kill: 2,
  stop: 1,
  pause: 2,
  pauseLeader: 2,
  split: 3,
  bridge: 1,
  isolateLeader: 2,
  isolate: 1,
  deafen: 1,
  mute: 1,
  disconnect: 1,
  lateEcho: 4,
  duel: 3,
  seesaw: 3,
  transfer: 1,
  scheduler: 1.5,
  heal: 8,
  weather: 3,
  disk: 2,
  diskFault: 0.7,
  lull: 10,
} as const;

export type Act = keyof typeof LIKED;

/** How much a seed likes each act. */
export type Taste = Readonly<Record<Act, number>>;

/** Each seed has a taste of its own, so that 1,000 seeds are 1,000 kinds of trouble and not one kind, 1,000 times. */
export function tasteOf(random: Random): Taste {
  const taste: Record<Act, number> = { ...LIKED };
  for (const act of Object.keys(LIKED) as Act[]) taste[act] *= random();
  return taste;
}
