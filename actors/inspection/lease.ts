/** Who looks, at what, and for how long: what an inspector announces, and what a node makes of it. */

import { isName } from '../addresses.js';

/** The six kinds that XState's types name. */
export const MACHINE_KINDS = [
  '@xstate.actor',
  '@xstate.event',
  '@xstate.transition',
  '@xstate.microstep',
  '@xstate.action',
  '@xstate.snapshot',
] as const;
/** One of XState's kinds. */
export type MachineKind = (typeof MACHINE_KINDS)[number];

/**
 * What else there is to see: the life of actors, dead letters, what the node's sources tell of its state, and what its parts
 * remark.
 */
export const OTHER_KINDS = ['life', 'letter', 'state', 'note'] as const;
/** Everything that an inspector may ask for. */
export type InspectionKind = MachineKind | (typeof OTHER_KINDS)[number];

/** An announcement on `troupe.<cluster>.inspect`. It holds for `ttl`; who wants to see more announces it again before. */
export interface InspectionLease {
  /** Unique among inspectors; a later announcement of the same one takes the place of the earlier. */
  readonly watcher: string;
  /** Milliseconds, 30,000 at most; 0 ends it. */
  readonly ttl: number;
  /** Beginnings of actors' paths; the empty one is all of them, an empty list none. */
  readonly paths: readonly string[];
  /** All of them where it says nothing. */
  readonly kinds?: readonly InspectionKind[];
  /**
   * Of the events that leave a machine in its state, one in so many is shown: 1 all, 0 none. Events that change a
   * state are always shown.
   */
  readonly every: number;
  /** Records of machines, lives, letters and notes in a second and node; what is beyond is counted, not sent. */
  readonly perSecond: number;
  /** The nodes that are meant; all of them where it says nothing. */
  readonly nodes?: readonly string[];
  /** Also in the form that Stately's viewer reads. */
  readonly stately?: boolean;
}

export const MAX_TTL_MS = 30_000;
export const MAX_PATHS = 64;
export const MAX_PER_SECOND = 20_000;
const MAX_LEASE_BYTES = 64 * 1024;
const MAX_NODES = 1024;
const KINDS: ReadonlySet<unknown> = new Set([...MACHINE_KINDS, ...OTHER_KINDS]);

/** A lease from the network; `undefined` for what is none. */
export function readLease(bytes: Uint8Array): InspectionLease | undefined {
  if (bytes.length > MAX_LEASE_BYTES) return undefined;
  let told: unknown;
  try {
    told = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
  if (typeof told !== 'object' || told === null) return undefined;
  const { watcher, ttl, paths, kinds, every, perSecond, nodes, stately } = told as Record<string, unknown>;
  if (typeof watcher !== 'string' || !isName(watcher)) return undefined;
  if (!isCount(ttl, MAX_TTL_MS) || !isCount(every, Number.MAX_SAFE_INTEGER)) return undefined;
  if (!isCount(perSecond, MAX_PER_SECOND)) return undefined;
  if (!isList(paths, MAX_PATHS, isText)) return undefined;
  if (kinds !== undefined && !isList(kinds, KINDS.size, isKind)) return undefined;
  if (nodes !== undefined && !isList(nodes, MAX_NODES, isText)) return undefined;
  return {
    watcher,
    ttl,
    paths,
    every,
    perSecond,
    ...(kinds === undefined ? {} : { kinds }),
    ...(nodes === undefined ? {} : { nodes }),
    ...(stately === true ? { stately } : {}),
  };
}

function isCount(value: unknown, most: number): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= most;
}

function isList<T>(value: unknown, most: number, is: (one: unknown) => one is T): value is readonly T[] {
  return Array.isArray(value) && value.length <= most && value.every(is);
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value.length <= 512;
}

function isKind(value: unknown): value is InspectionKind {
  return KINDS.has(value);
}

/** A lease as a node keeps it: until when, what it may still have this second, and what it has not had. */
export class HeldLease {
  readonly leftOut = new Map<InspectionKind, number>();
  lease: InspectionLease;
  until: number;
  #allowance: number;
  #refilledAt: number;
  #unchanged = 0;

  constructor(lease: InspectionLease, now: number) {
    this.lease = lease;
    this.until = now + lease.ttl;
    this.#allowance = lease.perSecond;
    this.#refilledAt = now;
  }

  /** @returns whether it asks for something else than before */
  renew(lease: InspectionLease, now: number): boolean {
    const before = this.lease;
    this.lease = lease;
    this.until = now + lease.ttl;
    return JSON.stringify({ ...before, ttl: 0 }) !== JSON.stringify({ ...lease, ttl: 0 });
  }

  seesPath(path: string): boolean {
    return this.lease.paths.some((prefix) => path.startsWith(prefix));
  }

  seesKind(kind: InspectionKind): boolean {
    return this.lease.kinds?.includes(kind) ?? true;
  }

  /** Whether the next event that changes nothing is one of those to show. @param shown one in so many is shown anyway */
  samples(shown: number): boolean {
    const { every } = this.lease;
    if (every === 0) return false;
    return this.#unchanged++ % Math.max(1, Math.round(every / Math.max(1, shown))) === 0;
  }

  /** Whether there is room for a record; one for which there is none counts as left out. */
  takes(kind: InspectionKind, now: number): boolean {
    const { perSecond } = this.lease;
    const gained = ((now - this.#refilledAt) * perSecond) / 1000;
    if (gained >= 1) {
      this.#allowance = Math.min(perSecond, this.#allowance + gained);
      this.#refilledAt = now;
    }
    if (this.#allowance >= 1) {
      this.#allowance--;
      return true;
    }
    this.leaves(kind, 1);
    return false;
  }

  leaves(kind: InspectionKind, count: number): void {
    this.leftOut.set(kind, (this.leftOut.get(kind) ?? 0) + count);
  }

  /** What was left out since the last call. */
  takeLeftOut(): Record<string, number> | undefined {
    if (this.leftOut.size === 0) return undefined;
    const counts = Object.fromEntries(this.leftOut);
    this.leftOut.clear();
    return counts;
  }
}
