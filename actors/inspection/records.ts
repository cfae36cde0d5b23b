/** What a node publishes on `troupe.<cluster>.events.<node>.records`: batches of records, as JSON. */

import { MACHINE_KINDS, type MachineKind, OTHER_KINDS } from './lease.js';

/** A machine's state for people: bounded, redacted, without functions. */
export interface ShownSnapshot {
  /** As XState writes it: a name, or an object of names. */
  readonly value: unknown;
  readonly status: string;
  readonly context?: unknown;
  readonly error?: string;
}

/** A transition by its place in the chart. */
export interface ShownTransition {
  /** The state's id. */
  readonly source: string;
  readonly event: string;
  /** Ids; empty where the state is not left. */
  readonly targets: readonly string[];
  readonly guard?: string;
}

/** Something that happened in a statechart. */
export interface MachineRecord {
  readonly kind: MachineKind;
  /** The node's clock. */
  readonly at: number;
  readonly path: string;
  /** XState's name of the actor, where it is one that the actor at the path has invoked or spawned. */
  readonly child?: string;
  /** The machine's id; absent for other logic. */
  readonly machine?: string;
  readonly event?: { readonly type: string; readonly [key: string]: unknown };
  /** Who sent the event, among actors of one system. */
  readonly source?: string;
  readonly snapshot?: ShownSnapshot;
  readonly transitions?: readonly ShownTransition[];
  /** Guards that said no to the event, each with the transition that was not taken. */
  readonly refused?: readonly ShownTransition[];
  readonly action?: { readonly type: string; readonly params?: unknown };
  /** Messages that wait in the actor's mailbox. */
  readonly queued?: number;
  /** The machine's definition, where the publisher was told how to show one and the lease has asked for an actor alone. */
  readonly chart?: unknown;
  /** The machine's configuration as JSON, where a lease asks for what Stately's viewer reads. */
  readonly definition?: string;
}

/** An actor began, ended, failed or was restarted. */
export interface LifeRecord {
  readonly kind: 'life';
  readonly at: number;
  readonly path: string;
  readonly what: 'spawned' | 'restarted' | 'failed' | 'stopped';
  readonly detail?: string;
}

/** A dead letter. */
export interface LetterRecord {
  readonly kind: 'letter';
  readonly at: number;
  readonly reason: string;
  readonly from: string;
  readonly to: string;
  readonly event: string;
  readonly detail: string;
}

/** What is new or changed, and what is gone, in a list that a part of the node keeps. */
export interface StateRecord {
  readonly kind: 'state';
  readonly at: number;
  readonly topic: string;
  readonly items: readonly unknown[];
  readonly gone: readonly unknown[];
}

/** A remark of a part of the node, which its topic names. */
export interface NoteRecord {
  readonly kind: 'note';
  readonly at: number;
  readonly topic: string;
  readonly detail: unknown;
}

/** One thing that happened, or how something stands. */
export type InspectionRecord = MachineRecord | LifeRecord | LetterRecord | StateRecord | NoteRecord;

/** What a node tells in one message. */
export interface InspectionBatch {
  readonly version: 1;
  readonly node: string;
  readonly incarnation: number;
  /** Grows by one with each batch: a gap is a batch that was lost on the way. */
  readonly sequence: number;
  /** The node's clock when it left, and Unix milliseconds: what turns the records' times into the time of day. */
  readonly at: number;
  readonly wall: number;
  readonly records: readonly InspectionRecord[];
  /** By watcher and kind: how many were seen, or would have been, and not sent. */
  readonly leftOut: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

const KINDS: ReadonlySet<unknown> = new Set([...MACHINE_KINDS, ...OTHER_KINDS]);

/** A batch from the network; `undefined` for what is none. Records of kinds that are not known are passed over. */
export function readBatch(bytes: Uint8Array): InspectionBatch | undefined {
  let told: unknown;
  try {
    told = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
  if (!isRecord(told)) return undefined;
  const { version, node, incarnation, sequence, at, wall, records, leftOut } = told;
  if (version !== 1 || typeof node !== 'string' || !Array.isArray(records)) return undefined;
  if (![incarnation, sequence, at, wall].every((one) => typeof one === 'number')) return undefined;
  return {
    version,
    node,
    incarnation: Number(incarnation),
    sequence: Number(sequence),
    at: Number(at),
    wall: Number(wall),
    records: records.filter(isInspectionRecord),
    leftOut: readLeftOut(leftOut),
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isInspectionRecord(value: unknown): value is InspectionRecord {
  if (!isRecord(value) || !KINDS.has(value.kind) || typeof value.at !== 'number') return false;
  switch (value.kind) {
    case 'letter':
      return ['reason', 'from', 'to', 'event', 'detail'].every((key) => typeof value[key] === 'string');
    case 'state':
      return typeof value.topic === 'string' && Array.isArray(value.items) && Array.isArray(value.gone);
    case 'note':
      return typeof value.topic === 'string';
    case 'life':
      return typeof value.path === 'string' && typeof value.what === 'string';
    default:
      return typeof value.path === 'string' && isMachineRecord(value);
  }
}

function isMachineRecord({
  machine,
  child,
  event,
  snapshot,
  transitions,
  refused,
  action,
}: Record<string, unknown>) {
  const text = (value: unknown): boolean => value === undefined || typeof value === 'string';
  const list = (value: unknown): boolean =>
    value === undefined || (Array.isArray(value) && value.every(isTransition));
  return (
    text(machine) &&
    text(child) &&
    (event === undefined || (isRecord(event) && typeof event.type === 'string')) &&
    (snapshot === undefined || (isRecord(snapshot) && typeof snapshot.status === 'string')) &&
    (action === undefined || (isRecord(action) && typeof action.type === 'string')) &&
    list(transitions) &&
    list(refused)
  );
}

function isTransition(value: unknown): boolean {
  if (!isRecord(value) || typeof value.source !== 'string' || typeof value.event !== 'string') return false;
  return Array.isArray(value.targets) && value.targets.every((target) => typeof target === 'string');
}

function readLeftOut(told: unknown): InspectionBatch['leftOut'] {
  if (!isRecord(told)) return {};
  const kinds = (counts: Record<string, unknown>): Record<string, number> =>
    Object.fromEntries(
      Object.entries(counts).filter((entry): entry is [string, number] => typeof entry[1] === 'number'),
    );
  return Object.fromEntries(
    Object.entries(told).flatMap(([watcher, counts]) => (isRecord(counts) ? [[watcher, kinds(counts)]] : [])),
  );
}
