import { createHash } from 'node:crypto';
import type { InitialState } from '../../machines/raft/types.js';
import { type Engine, RaftLog } from '../../storage/index.js';
import { keyAfter } from '../../storage/keys.js';

/** What one store's disk says about a Raft group. */
interface Replica {
  readonly store: string;
  readonly log: RaftLog;
  readonly state: InitialState;
  readonly data: string;
}

const PAGE = { limit: 1024, maxBytes: 1024 * 1024 };

/**
 * Compares what the disks of stopped stores hold: committed entries are the same wherever they are, and stores that have
 * applied all groups equally far hold the same data.
 * @returns sentences about what differs
 */
export async function compareReplicas(engines: ReadonlyMap<string, Engine>): Promise<string[]> {
  const groups = new Map<number, Replica[]>();
  for (const [store, engine] of engines) {
    const log = new RaftLog(engine);
    const data = await dataOf(engine);
    for (const [group, { initial: state }] of await log.loadAll()) {
      const replicas = groups.get(group) ?? [];
      groups.set(group, [...replicas, { store, log, state, data }]);
    }
  }
  const differences: string[] = [];
  for (const [group, [first, ...others]] of groups) {
    if (first === undefined) continue;
    for (const other of others) {
      const entry = await firstDifference(group, first, other);
      const between = `${first.store} and ${other.store}`;
      if (entry !== undefined)
        differences.push(`${between} committed different entries ${entry} of region ${group}`);
      const equallyFar = first.state.applied === other.state.applied;
      if (groups.size === 1 && equallyFar && first.data !== other.data) {
        differences.push(`${between} have applied ${first.state.applied} entries and hold different data`);
      }
    }
  }
  return differences;
}

async function dataOf(engine: Engine): Promise<string> {
  const hash = createHash('sha256');
  let start: Uint8Array = new Uint8Array(0);
  for (;;) {
    const { keys, values, more } = await engine.scan('default', { ...PAGE, start });
    for (const [i, key] of keys.entries()) {
      const value = values[i] ?? new Uint8Array(0);
      hash.update(`${key.length} ${value.length} `).update(key).update(value);
    }
    const last = keys.at(-1);
    if (!more || last === undefined) return hash.digest('hex');
    start = keyAfter(last);
  }
}

/** Index of the first entry that both have committed and still have, and that is not the same. */
async function firstDifference(group: number, one: Replica, other: Replica): Promise<number | undefined> {
  const first = Math.max(one.state.truncated.index, other.state.truncated.index) + 1;
  const last = Math.min(one.state.hardState.commit, other.state.hardState.commit);
  for (let index = first; index <= last; ) {
    const mine = await one.log.fetch(group, index, last + 1, PAGE.maxBytes);
    const theirs = await other.log.fetch(group, index, last + 1, PAGE.maxBytes);
    const count = Math.min(mine.length, theirs.length);
    for (let i = 0; i < count; i++) {
      const [a, b] = [mine[i], theirs[i]];
      const same = a !== undefined && b !== undefined && a.term === b.term && a.type === b.type;
      if (!same || Buffer.compare(a.data, b.data) !== 0) return index + i;
    }
    index += count;
  }
  return undefined;
}
