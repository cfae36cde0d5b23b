/** How a command is evaluated: it asks, yields for the round to be read, and comes to an outcome. */
import { nameOfKey, txnKey } from '../keys.js';
import type { Answer, ReadPlan } from './read-plan.js';
import type { Lock, LockInfo, MvccChange, MvccError, MvccOutcome, MvccReply } from './types.js';
import type { Subject } from './versions.js';

export type Evaluation = Generator<undefined, MvccOutcome, undefined>;

export interface LockedSubject extends Subject {
  readonly lock: Answer<Lock | undefined>;
}

/** The distinct keys, in their order, with their locks asked for. */
export function subjectsOf(keys: readonly Uint8Array[], plan: ReadPlan): LockedSubject[] {
  return distinctKeys(keys).map((key) => subjectOf(key, plan));
}

export function subjectOf(key: Uint8Array, plan: ReadPlan): LockedSubject {
  const stored = txnKey(key);
  return { key, stored, lock: plan.lock(stored) };
}

export function distinctKeys(keys: readonly Uint8Array[]): Uint8Array[] {
  return [...new Map(keys.map((key) => [nameOfKey(key), key])).values()];
}

export function lockInfo(key: Uint8Array, lock: Lock): LockInfo {
  return { ...lock, key };
}

export function done(reply: MvccReply, changes: readonly MvccChange[] = []): MvccOutcome {
  return { changes, errors: [], reply };
}

export function refused(reply: MvccReply, errors: readonly MvccError[]): MvccOutcome {
  return { changes: [], errors, reply };
}
