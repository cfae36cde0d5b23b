import type { TermBoundary } from '../machines/raft/types.js';
import type { Engine } from './engine.js';
import { decodeEntry } from './proto/index.js';
import { ENTRY_KEY_BYTES, entryRange, parseEntryKey } from './raft-keys.js';

/** All entries of a group's log on disk, as far as a start has to know them. */
export interface SmallLog {
  /** Ascending. */
  readonly indexes: readonly number[];
  readonly terms: readonly number[];
  /** Of keys and values. */
  readonly bytes: number;
}

/** Keys and bytes that are read at a time: a log that fills this alone is not small. */
const PAGE = { limit: 1024, maxBytes: 256 * 1024 };

/**
 * Reads the logs of a whole store in one pass, as long as they are small: a store has ten thousand idle regions with a few
 * entries each, and to look each of them up would take most of its start. Of a large log only its beginning is read.
 * @returns by group; those with a log that is not here, but on disk, are large, or cannot be read
 */
export async function readSmallLogs(engine: Engine): Promise<{
  readonly small: ReadonlyMap<number, SmallLog>;
  readonly large: ReadonlySet<number>;
}> {
  const small = new Map<number, SmallLog>();
  const large = new Set<number>();
  let start: Uint8Array | undefined = entryRange(0).start;
  while (start !== undefined) {
    const page = await engine.scan('log', { start, ...PAGE });
    const logs = byGroup(page.keys, page.values);
    const last = [...logs.keys()].at(-1);
    for (const [group, { indexes, values }] of logs) {
      if (group === last && page.more) break;
      const log = decode(indexes, values);
      if (log === undefined) large.add(group);
      else small.set(group, log);
    }
    if (last === undefined || !page.more) return { small, large };
    // The last one goes on behind this page: it is read again from its beginning, unless it fills a page.
    if (logs.size === 1) large.add(last);
    start = logs.size === 1 ? entryRange(last).end : entryRange(last).start;
  }
  return { small, large };
}

interface RawLog {
  readonly indexes: number[];
  readonly values: Uint8Array[];
}

function byGroup(keys: readonly Uint8Array[], values: readonly Uint8Array[]): Map<number, RawLog> {
  const logs = new Map<number, RawLog>();
  for (const [i, key] of keys.entries()) {
    const { group, index } = parseEntryKey(key);
    let log = logs.get(group);
    if (log === undefined) {
      log = { indexes: [], values: [] };
      logs.set(group, log);
    }
    log.indexes.push(index);
    log.values.push(values[i] as Uint8Array);
  }
  return logs;
}

/** `undefined` when an entry cannot be read: whoever looks closer says what is wrong. */
function decode(indexes: readonly number[], values: readonly Uint8Array[]): SmallLog | undefined {
  const terms: number[] = [];
  let bytes = 0;
  try {
    for (const value of values) {
      terms.push(decodeEntry(value).term);
      bytes += ENTRY_KEY_BYTES + value.length;
    }
  } catch {
    return undefined;
  }
  return { indexes, terms, bytes };
}

/** Where the terms change among the entries behind `truncated`; `undefined` when these are no run of a log. */
export function boundariesOf({ indexes, terms }: SmallLog, truncated: number): TermBoundary[] | undefined {
  const boundaries: TermBoundary[] = [];
  let next = truncated + 1;
  let before = 0;
  for (const [i, index] of indexes.entries()) {
    if (index <= truncated) continue;
    const term = terms[i] as number;
    if (index !== next || term < before) return undefined;
    if (term !== before) boundaries.push({ term, index });
    before = term;
    next++;
  }
  return boundaries;
}
