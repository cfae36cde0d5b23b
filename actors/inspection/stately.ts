/**
 * The wire form of `@statelyai/inspect` 0.7, for those who want Stately's hosted viewer: it knows three of the six kinds,
 * and one JSON object a message.
 */

import type { InspectionRecord } from './records.js';

const VERSION = '0.7.2';
let counter = 0;

/** Characters of a definition; a larger one is left out. */
const MOST_DEFINITION = 64 * 1024;

/**
 * A machine's configuration as the viewer draws it: JSON, functions by their names. Without the initial context, which is data and
 * not the chart; `undefined` where there is none, or it is too large.
 */
export function definitionOf(logic: unknown): string | undefined {
  const { config } = (logic ?? {}) as { readonly config?: unknown };
  if (typeof config !== 'object' || config === null) return undefined;
  try {
    const text = JSON.stringify({ ...config, context: undefined }, (_key, value: unknown) => {
      return typeof value === 'function' ? { type: value.name } : value;
    });
    return text.length <= MOST_DEFINITION ? text : undefined;
  } catch {
    return undefined;
  }
}

/** What Stately's viewer can show of a record: nothing, or one event. */
export function statelyEventsOf(record: InspectionRecord, node: string, wallClock: () => number): object[] {
  if (!('path' in record) || record.kind === 'life') return [];
  const address = `${node}/${record.path}`;
  const sessionId = record.child === undefined ? address : `${address}#${record.child}`;
  const base = {
    sessionId,
    rootId: address,
    createdAt: String(wallClock()),
    id: `${address}.${++counter}`,
    _version: VERSION,
  };
  switch (record.kind) {
    case '@xstate.actor':
      return [
        {
          ...base,
          type: record.kind,
          name: record.child ?? record.path,
          ...(record.child === undefined ? {} : { parentId: address }),
          definition:
            record.definition ?? JSON.stringify({ id: record.machine ?? record.child ?? record.path }),
          snapshot: record.snapshot ?? { status: 'active' },
        },
      ];
    case '@xstate.event':
      return [{ ...base, type: record.kind, event: record.event, ...sourceOf(record.source, address) }];
    case '@xstate.snapshot':
      return [{ ...base, type: record.kind, event: record.event, snapshot: record.snapshot }];
    default:
      return [];
  }
}

/** The sender's session: it is the actor at the address itself, or one that this runs. */
function sourceOf(source: string | undefined, address: string): { readonly sourceId?: string } {
  if (source === undefined) return {};
  return { sourceId: source === address ? address : `${address}#${source}` };
}
