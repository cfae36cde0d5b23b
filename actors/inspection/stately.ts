/**
 * The wire form of `@statelyai/inspect` 0.7, for those who want Stately's hosted viewer: it knows three of the six kinds,
 * and one JSON object a message.
 */

import type { InspectionRecord } from './records.js';

const VERSION = '0.7.2';
let counter = 0;

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
          ...(record.snapshot === undefined ? {} : { snapshot: record.snapshot }),
        },
      ];
    case '@xstate.event':
      return [{ ...base, type: record.kind, event: record.event, sourceId: record.source }];
    case '@xstate.snapshot':
      return [{ ...base, type: record.kind, event: record.event, snapshot: record.snapshot }];
    default:
      return [];
  }
}
