import type { ColumnFamily, Engine, WriteBatch } from '../../storage/index.js';
import { COLUMN_FAMILIES, decodeRawValue, encodeRawValue } from '../../storage/index.js';
import { nameOfKey } from '../../storage/keys.js';
import type { metapb, raft_cmdpb } from '../../storage/proto/index.js';
import type { errorpb } from '../proto/index.js';
import { checkVersion, containsKey, containsRange } from './region-check.js';
import { keyNotInRegion } from './region-errors.js';

/**
 * Raw commands are evaluated when they are applied, by every replica alike: same entries, same changes, same results.
 */

/** What a compare-and-swap found. `previous` is absent when the key was. */
export interface SwapResult {
  readonly succeed: boolean;
  readonly previous: Uint8Array | undefined;
}

/** Of one command: refused whole, or done; `swaps` has an element per request when one of them was a compare-and-swap. */
export interface CommandResult {
  readonly regionError: errorpb.Error | undefined;
  readonly swaps: readonly (SwapResult | undefined)[] | undefined;
}

/** Told of what applied writes add to a region's size, and take from it; bytes of keys and values. */
export interface SizeObserver {
  put(bytes: number): void;
  deleted(): void;
  rangeDeleted(): void;
}

const DONE: CommandResult = { regionError: undefined, swaps: undefined };

/** The family that a request names; data lives in three of them, an empty name means `default`. */
export function dataFamily(name: string): ColumnFamily | undefined {
  if (name === '' || name === 'default') return 'default';
  return name === 'lock' || name === 'write' ? name : undefined;
}

/** Values as the entries of one batch will have left them, for the keys that a compare-and-swap looks at. */
export class Overlay {
  readonly #values = new Map<string, Uint8Array | undefined>();

  static name(cf: ColumnFamily, key: Uint8Array): string {
    return `${COLUMN_FAMILIES.indexOf(cf)}${nameOfKey(key)}`;
  }

  static async of(commands: readonly raft_cmdpb.RaftCmdRequest[], engine: Engine): Promise<Overlay> {
    const overlay = new Overlay();
    const wanted = new Map<ColumnFamily, Uint8Array[]>();
    for (const { requests } of commands) {
      for (const { compareAndSwap } of requests) {
        if (compareAndSwap === undefined) continue;
        const cf = familyOf(compareAndSwap.cf);
        const name = Overlay.name(cf, compareAndSwap.key);
        if (overlay.#values.has(name)) continue;
        overlay.#values.set(name, undefined);
        const keys = wanted.get(cf);
        if (keys === undefined) wanted.set(cf, [compareAndSwap.key]);
        else keys.push(compareAndSwap.key);
      }
    }
    for (const [cf, keys] of wanted) {
      const values = await engine.multiGet(cf, keys);
      for (const [i, key] of keys.entries()) overlay.#values.set(Overlay.name(cf, key), values[i]);
    }
    return overlay;
  }

  get(cf: ColumnFamily, key: Uint8Array): Uint8Array | undefined {
    return this.#values.get(Overlay.name(cf, key));
  }

  set(cf: ColumnFamily, key: Uint8Array, value: Uint8Array | undefined): void {
    const name = Overlay.name(cf, key);
    if (this.#values.has(name)) this.#values.set(name, value);
  }

  deleteRange(cf: ColumnFamily, start: Uint8Array, end: Uint8Array): void {
    const from = Overlay.name(cf, start);
    const to = Overlay.name(cf, end);
    for (const name of this.#values.keys()) {
      if (name >= from && name < to) this.#values.set(name, undefined);
    }
  }
}

/** Whether the command's evaluation reads from the engine. */
export function comparesAndSwaps({ requests }: raft_cmdpb.RaftCmdRequest): boolean {
  return requests.some((one) => one.compareAndSwap !== undefined);
}

/**
 * Puts the changes of a command into `batch`. The region's epoch and range are checked again here, because the region may
 * have changed since the leader proposed it.
 * @param overlay needed by a command that compares and swaps
 * @param wrote told once what was written, if anything was: bytes of keys and values, and number of keys
 */
export function evaluateCommand(
  command: raft_cmdpb.RaftCmdRequest,
  region: metapb.Region,
  batch: WriteBatch,
  overlay: Overlay | undefined,
  size?: SizeObserver,
  wrote?: (bytes: number, keys: number) => void,
): CommandResult {
  const regionError =
    checkVersion(region, command.header?.regionEpoch) ?? checkKeys(command.requests, region);
  if (regionError !== undefined) return { regionError, swaps: undefined };
  if (overlay === undefined) {
    let bytes = 0;
    for (const request of command.requests) bytes += change(request, batch, undefined, size);
    wrote?.(bytes, command.requests.length);
    return DONE;
  }
  let bytes = 0;
  let keys = 0;
  const swaps = command.requests.map((request) => {
    const { compareAndSwap } = request;
    const result = compareAndSwap && swap(compareAndSwap, batch, overlay, size);
    if (compareAndSwap === undefined) bytes += change(request, batch, overlay, size);
    else if (result?.succeed) bytes += compareAndSwap.key.length + compareAndSwap.value.length;
    if (result?.succeed !== false) keys++;
    return result;
  });
  if (keys > 0) wrote?.(bytes, keys);
  return { regionError: undefined, swaps };
}

/** A single stray key refuses the whole command: its requests were checked together when they were proposed. */
export function checkKeys(
  requests: readonly raft_cmdpb.Request[],
  region: metapb.Region,
): errorpb.Error | undefined {
  for (const { put, delete: remove, deleteRange, compareAndSwap } of requests) {
    const key = put?.key ?? remove?.key ?? compareAndSwap?.key;
    if (key !== undefined) {
      if (!containsKey(region, key)) return keyNotInRegion(region, key);
    } else if (
      deleteRange !== undefined &&
      !containsRange(region, deleteRange.startKey, deleteRange.endKey)
    ) {
      return keyNotInRegion(region, deleteRange.startKey);
    }
  }
  return undefined;
}

/** @returns bytes of keys and values */
function change(
  request: raft_cmdpb.Request,
  batch: WriteBatch,
  overlay: Overlay | undefined,
  size: SizeObserver | undefined,
): number {
  const { put, delete: remove, deleteRange } = request;
  if (put !== undefined) {
    const cf = familyOf(put.cf);
    batch.put(cf, put.key, put.value);
    overlay?.set(cf, put.key, put.value);
    const bytes = put.key.length + put.value.length;
    size?.put(bytes);
    return bytes;
  }
  if (remove !== undefined) {
    const cf = familyOf(remove.cf);
    batch.delete(cf, remove.key);
    overlay?.set(cf, remove.key, undefined);
    size?.deleted();
    return remove.key.length;
  }
  if (deleteRange !== undefined) {
    const cf = familyOf(deleteRange.cf);
    batch.deleteRange(cf, deleteRange.startKey, deleteRange.endKey);
    overlay?.deleteRange(cf, deleteRange.startKey, deleteRange.endKey);
    size?.rangeDeleted();
    return deleteRange.startKey.length + deleteRange.endKey.length;
  }
  throw new Error(`a replicated command of kind ${request.cmdType} is unknown to this version`);
}

function swap(
  request: raft_cmdpb.CompareAndSwapRequest,
  batch: WriteBatch,
  overlay: Overlay,
  size: SizeObserver | undefined,
): SwapResult {
  const cf = familyOf(request.cf);
  const stored = overlay.get(cf, request.key);
  const previous = stored === undefined ? undefined : decodeRawValue(stored).value;
  const succeed =
    previous === undefined
      ? request.previousNotExist
      : !request.previousNotExist && Buffer.compare(previous, request.previousValue) === 0;
  if (succeed) {
    const value = encodeRawValue(request.value);
    batch.put(cf, request.key, value);
    overlay.set(cf, request.key, value);
    size?.put(request.key.length + value.length);
  }
  return { succeed, previous };
}

function familyOf(name: string): ColumnFamily {
  const family = dataFamily(name);
  if (family === undefined) throw new Error(`a replicated command names the unknown column family "${name}"`);
  return family;
}
