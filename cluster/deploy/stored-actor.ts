/** Reading what a host's disk has of an actor. */

import type { Engine } from '../../storage/index.js';
import type { Said } from './known-ids.js';
import type { ActorState } from './protocol.js';
import {
  afterPrefix,
  decodeState,
  effectPrefix,
  idKey,
  idPrefix,
  type Owner,
  type StoredEffect,
  type StoredId,
  type StoredState,
  stateKey,
} from './records.js';

const PAGE_KEYS = 256;
const PAGE_BYTES = 1024 * 1024;

/** All that is known of an actor. */
export interface ActorPast {
  /** As stored; `undefined`: it has never taken a step. */
  readonly text: string | undefined;
  readonly ids: readonly StoredId[];
  readonly effects: readonly StoredEffect[];
}

export async function loadPast(engine: Engine, owner: Owner): Promise<ActorPast> {
  const text = await loadState(engine, owner);
  if (text === undefined) return { text, ids: [], effects: [] };
  const ids: StoredId[] = [];
  for await (const [, value] of rows(engine, idPrefix(owner))) {
    const { id, seq } = JSON.parse(value) as StoredId;
    ids.push({ id, seq });
  }
  const effects: StoredEffect[] = [];
  for await (const [, value] of rows(engine, effectPrefix(owner)))
    effects.push(JSON.parse(value) as StoredEffect);
  return { text, ids, effects };
}

export async function loadState(engine: Engine, owner: Owner): Promise<string | undefined> {
  const bytes = await engine.get('default', stateKey(owner));
  return bytes && Buffer.from(bytes).toString();
}

/** What the machine said to an event that it had taken at a step. */
export async function loadSaid(engine: Engine, owner: Owner, seq: number): Promise<Said> {
  const bytes = await engine.get('default', idKey(owner, seq));
  return bytes === undefined ? {} : (JSON.parse(Buffer.from(bytes).toString()) as Said);
}

/** The pairs below a prefix, page by page. */
export async function* rows(
  engine: Engine,
  prefix: Uint8Array,
): AsyncGenerator<readonly [Uint8Array, string]> {
  const end = afterPrefix(prefix);
  let start = prefix;
  for (;;) {
    const page = await engine.scan('default', { start, end, limit: PAGE_KEYS, maxBytes: PAGE_BYTES });
    for (const [i, key] of page.keys.entries()) yield [key, Buffer.from(page.values[i] ?? []).toString()];
    const last = page.keys.at(-1);
    if (!page.more || last === undefined) return;
    start = Buffer.concat([last, Buffer.alloc(1)]);
  }
}

/** The part of a stored state that people want to see. */
export function actorState({ snapshot }: StoredState): ActorState {
  const { value, context, status, output } = snapshot as unknown as Partial<ActorState>;
  return {
    value: value ?? null,
    context: context ?? null,
    status: status ?? 'active',
    ...(output === undefined ? {} : { output }),
  };
}

export function actorStateOf(text: string): ActorState {
  return actorState(decodeState(text));
}
