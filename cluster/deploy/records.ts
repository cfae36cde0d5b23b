/** What a host keeps on its disk, and under which keys (docs/decisions/deployed-actors.md). */

import type { AnyEventObject, Snapshot } from 'xstate';
import type { Restorable } from '../../actors/index.js';
import { TroupeError } from '../errors.js';
import { encodePlain } from './plain-data.js';
import { NAME } from './protocol.js';

const FORMAT = 1;

/** An actor after a step, as it is stored. */
export interface StoredState {
  readonly format: number;
  /** Drawn when the actor was born; tells its effects from those of a later one of its name. */
  readonly life: string;
  /** Steps of its life so far. */
  readonly seq: number;
  readonly snapshot: Snapshot<unknown>;
  readonly timers: readonly StoredTimer[];
}

export interface StoredTimer {
  readonly from: readonly string[];
  readonly to: readonly string[];
  readonly id: string;
  readonly event: AnyEventObject;
  /** First deadline, in milliseconds of the wall clock. */
  readonly at: number;
}

/** Something that an actor has emitted and that has not left. */
export interface StoredEffect {
  readonly seq: number;
  /** Its place among those of its step. */
  readonly n: number;
  readonly id: string;
  readonly event: AnyEventObject;
  /** When it was emitted, in milliseconds of the wall clock; hosts of before did not write it down. */
  readonly at?: number;
}

/** The deployed actor that an effect is for; `undefined`: it is published for everybody. */
export function addresseeOf({ event: { to } }: StoredEffect): string | undefined {
  return typeof to === 'string' && NAME.test(to) ? to : undefined;
}

/** An event that was applied. */
export interface StoredId {
  readonly id: string;
  readonly seq: number;
  /** What the machine said to it. */
  readonly reply?: unknown;
  /** No transition took it. */
  readonly untaken?: true;
}

/** Monotonic and wall time of one moment, in milliseconds: deadlines are kept on the one and run on the other. */
export interface Moment {
  readonly clock: number;
  readonly wall: number;
}

/** What a state is stored as. */
export function storedState(
  life: string,
  seq: number,
  { snapshot, timers }: Restorable,
  now: Moment,
): StoredState {
  const toWall = ({ dueAt, ...timer }: Restorable['timers'][number]): StoredTimer => ({
    ...timer,
    at: Math.round(dueAt - now.clock + now.wall),
  });
  return { format: FORMAT, life, seq, snapshot, timers: timers.map(toWall) };
}

/** @throws NotPlainError when the state would not come back as it is */
export function encodeState(state: StoredState): string {
  return encodePlain('the actor', state);
}

/** @throws TroupeError `identity` when a newer version wrote it */
export function decodeState(text: string): StoredState {
  const state = JSON.parse(text) as StoredState;
  if (state.format === FORMAT) return state;
  throw new TroupeError(
    'identity',
    `the state was written in format ${state.format}, this version reads ${FORMAT}: start a newer version on it`,
  );
}

export function restorableOf({ snapshot, timers }: StoredState, now: Moment): Restorable {
  return {
    snapshot,
    timers: timers.map(({ at, ...timer }) => ({ ...timer, dueAt: at - now.wall + now.clock })),
  };
}

/** The earliest deadline; `undefined` where no timer is set. */
export function firstDeadline({ timers }: StoredState): number | undefined {
  return timers.length === 0 ? undefined : Math.min(...timers.map(({ at }) => at));
}

/** Of whom something is stored: a deployment's name, and the instance's key, which is empty where there are none. */
export interface Owner {
  readonly name: string;
  readonly key: string;
}

export const HOST_KEY = text('h');
export const deploymentKey = (name: string): Uint8Array => text(`d${name}`);
export const stateKey = ({ name, key }: Owner): Uint8Array => text(`s${name}\0${key}`);
export const idKey = (owner: Owner, seq: number): Uint8Array => Buffer.concat([idPrefix(owner), number(seq)]);
export const idPrefix = ({ name, key }: Owner): Uint8Array => text(`i${name}\0${key}\0`);
export const effectKey = (owner: Owner, seq: number, n: number): Uint8Array =>
  Buffer.concat([effectPrefix(owner), number(seq), number(n)]);
export const effectPrefix = ({ name, key }: Owner): Uint8Array => text(`o${name}\0${key}\0`);
/** Of all instances. */
export const effectsPrefix = (name: string): Uint8Array => text(`o${name}\0`);
export const wakePrefix = (name: string): Uint8Array => text(`w${name}\0`);
export const wakeKey = ({ name, key }: Owner, at: number): Uint8Array =>
  Buffer.concat([wakePrefix(name), number(at), text(key)]);

/** Prefixes of everything that is stored of a deployment. */
export const prefixesOf = (name: string): readonly Uint8Array[] =>
  ['s', 'i', 'o', 'w'].map((kind) => text(`${kind}${name}\0`));

/** The first key that does not begin with the prefix, none of which ends in 0xff. */
export function afterPrefix(prefix: Uint8Array): Uint8Array {
  const end = Buffer.from(prefix);
  const last = end.length - 1;
  end[last] = (end[last] ?? 0) + 1;
  return end;
}

/** The wake key's deadline and instance. */
export function readWakeKey(name: string, key: Uint8Array): { readonly at: number; readonly key: string } {
  const { length } = wakePrefix(name);
  const bytes = Buffer.from(key);
  return { at: Number(bytes.readBigUInt64BE(length)), key: bytes.toString('utf8', length + 8) };
}

/** The instance of an effect's key. */
export function readEffectOwner(name: string, key: Uint8Array): string {
  const { length } = effectsPrefix(name);
  // A zero byte and two numbers follow.
  return Buffer.from(key).toString('utf8', length, key.length - 17);
}

/** Unsigned, in the order of the numbers; wall clocks before 1970 do not occur. */
function number(value: number): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(Math.max(0, value)));
  return bytes;
}

function text(value: string): Uint8Array {
  return Buffer.from(value, 'utf8');
}
