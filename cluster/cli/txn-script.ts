/** What `troupe txn run` does: operations as JSON in, what they read out. */

import { didYouMean } from '../../actors/index.js';
import { TroupeError } from '../errors.js';
import type { Transaction } from '../index.js';
import { showBytes } from './kv-bytes.js';
import { decodeField, encodeField, encodeRecord, NotARecord } from './ndjson.js';

export type TxnOperation =
  | { readonly op: 'get' | 'delete' | 'lock'; readonly key: Uint8Array }
  | { readonly op: 'put' | 'insert'; readonly key: Uint8Array; readonly value: Uint8Array }
  /** `undefined`: that the key has no value. */
  | { readonly op: 'expect'; readonly key: Uint8Array; readonly value: Uint8Array | undefined }
  | { readonly op: 'scan'; readonly range: TxnRange };

interface TxnRange {
  readonly prefix?: Uint8Array;
  readonly start?: Uint8Array;
  readonly end?: Uint8Array;
  readonly limit?: number;
  readonly reverse?: boolean;
  readonly keysOnly?: boolean;
}

/** What a read of the script came to. */
export type TxnReading =
  | { readonly op: 'get'; readonly key: Uint8Array; readonly value: Uint8Array | undefined }
  | {
      readonly op: 'scan';
      readonly keysOnly: boolean;
      readonly pairs: readonly { readonly key: Uint8Array; readonly value: Uint8Array }[];
    };

const KEY = ['key', 'key64'];
const VALUE = ['value', 'value64'];
const BOUNDS = ['prefix', 'start', 'end'] as const;
const FIELDS: Readonly<Record<TxnOperation['op'], readonly string[]>> = {
  get: KEY,
  delete: KEY,
  lock: KEY,
  put: [...KEY, ...VALUE],
  insert: [...KEY, ...VALUE],
  expect: [...KEY, ...VALUE, 'absent'],
  scan: [...BOUNDS, ...BOUNDS.map((name) => `${name}64`), 'limit', 'reverse', 'keysOnly'],
};
const OPERATIONS = Object.keys(FIELDS);

/** @throws TroupeError `usage` that says which operation is wrong, and why */
export function parseTxnScript(script: string | Uint8Array): TxnOperation[] {
  let content: unknown;
  try {
    content = JSON.parse(typeof script === 'string' ? script : textOf(script));
  } catch (cause) {
    if (cause instanceof TroupeError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new TroupeError('usage', `the operations are not JSON: ${why}`, { cause });
  }
  if (!Array.isArray(content)) {
    throw new TroupeError(
      'usage',
      'give a JSON list of operations, such as [{"op": "put", "key": "a", "value": "1"}]',
    );
  }
  return content.map((one: unknown, i) => {
    try {
      return operation(one);
    } catch (error) {
      if (error instanceof NotARecord) throw new TroupeError('usage', `operation ${i + 1}: ${error.message}`);
      throw error;
    }
  });
}

/** @throws TroupeError `usage`: other bytes would be replaced without a word */
function textOf(script: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(script);
  } catch (cause) {
    throw new TroupeError(
      'usage',
      'the operations are not valid UTF-8: give such bytes in base64, as key64 and value64',
      { cause },
    );
  }
}

/**
 * Runs the operations in their order. What is expected of keys holds when the transaction commits: where it writes, the keys
 * are locked.
 * @returns what was read, in their order
 * @throws TroupeError `conflict` (reason `unexpected-value`) where a key is not as it is expected
 */
export async function runTxnScript(
  transaction: Transaction,
  operations: readonly TxnOperation[],
): Promise<TxnReading[]> {
  const readings: TxnReading[] = [];
  const writes = operations.some(
    ({ op }) => op === 'put' || op === 'insert' || op === 'delete' || op === 'lock',
  );
  for (const [i, one] of operations.entries()) {
    if (one.op === 'scan') {
      const pairs: { key: Uint8Array; value: Uint8Array }[] = [];
      for await (const pair of transaction.scan(one.range)) pairs.push(pair);
      readings.push({ op: 'scan', keysOnly: one.range.keysOnly === true, pairs });
    } else if (one.op === 'get') {
      readings.push({ op: 'get', key: one.key, value: await transaction.get(one.key) });
    } else if (one.op === 'put') {
      transaction.put(one.key, one.value);
    } else if (one.op === 'insert') {
      transaction.insert(one.key, one.value);
    } else if (one.op === 'expect') {
      const value = await transaction.get(one.key);
      if (!isSame(value, one.value)) throw unexpectedValue(i + 1, one.key, one.value, value);
      if (writes) transaction.lock(one.key);
    } else {
      transaction[one.op](one.key);
    }
  }
  return readings;
}

function isSame(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : Buffer.compare(a, b) === 0;
}

function unexpectedValue(
  operation: number,
  key: Uint8Array,
  expected: Uint8Array | undefined,
  found: Uint8Array | undefined,
): TroupeError {
  const [wanted, is] = [expected, found].map((value) =>
    value === undefined ? 'none' : `"${showBytes(value)}"`,
  );
  return new TroupeError(
    'conflict',
    `operation ${operation} expects key "${showBytes(key)}" to have the value ${wanted}, and it has ${is}: nothing was written`,
    { reason: 'unexpected-value' },
  );
}

/** As lines for people; a key without a value is said on standard error by the caller. */
export function readingLines(reading: TxnReading): string[] {
  if (reading.op === 'get') {
    const { key, value } = reading;
    return value === undefined ? [] : [`${showBytes(key)}\t${showBytes(value)}`];
  }
  return reading.pairs.map(({ key, value }) =>
    reading.keysOnly ? showBytes(key) : `${showBytes(key)}\t${showBytes(value)}`,
  );
}

/** As one JSON object; `commitTimestamp` is null where nothing was written. */
export function readingsJson(
  { startTimestamp, commitTimestamp }: Pick<Transaction, 'startTimestamp' | 'commitTimestamp'>,
  readings: readonly TxnReading[],
): string {
  const results = readings.map((reading) => {
    if (reading.op === 'get') {
      const { key, value } = reading;
      const shown = value === undefined ? '"value":null' : encodeField('value', value);
      return `{"op":"get",${encodeField('key', key)},${shown}}`;
    }
    const pairs = reading.pairs.map((pair) =>
      reading.keysOnly ? `{${encodeField('key', pair.key)}}` : encodeRecord(pair),
    );
    return `{"op":"scan","pairs":[${pairs.join(',')}]}`;
  });
  const commit = commitTimestamp === undefined ? 'null' : `"${commitTimestamp}"`;
  return `{"startTimestamp":"${startTimestamp}","commitTimestamp":${commit},"results":[${results.join(',')}]}`;
}

function operation(content: unknown): TxnOperation {
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw new NotARecord('it is not a JSON object');
  }
  const record: Readonly<Record<string, unknown>> = { ...content };
  const { op } = record;
  if (!isOperation(op)) {
    const hint = typeof op === 'string' ? didYouMean(op, OPERATIONS) : '';
    throw new NotARecord(
      op === undefined
        ? `it has no "op": give one of ${OPERATIONS.join(', ')}`
        : `there is no op ${JSON.stringify(op)}: give one of ${OPERATIONS.join(', ')}${hint}`,
    );
  }
  const unknown = Object.keys(record).find((name) => name !== 'op' && !FIELDS[op].includes(name));
  if (unknown !== undefined)
    throw new NotARecord(`a ${op} takes no "${unknown}"${didYouMean(unknown, FIELDS[op])}`);
  if (op === 'scan') return { op, range: rangeOf(record) };
  const key = decodeField(record, 'key');
  if (op === 'put' || op === 'insert') return { op, key, value: decodeField(record, 'value') };
  if (op === 'expect') return { op, key, value: expectedValue(record) };
  return { op, key };
}

function expectedValue(record: Readonly<Record<string, unknown>>): Uint8Array | undefined {
  const { absent, value, value64 } = record;
  if (absent === undefined) {
    if (value === undefined && value64 === undefined)
      throw new NotARecord('give it a "value", or "absent": true');
    return decodeField(record, 'value');
  }
  if (absent !== true) throw new NotARecord('its "absent" is not true: leave it out, and give a "value"');
  if (value !== undefined || value64 !== undefined)
    throw new NotARecord('give it a "value", or "absent": true, not both');
  return undefined;
}

function isOperation(op: unknown): op is TxnOperation['op'] {
  return typeof op === 'string' && Object.hasOwn(FIELDS, op);
}

function rangeOf(record: Readonly<Record<string, unknown>>): TxnRange {
  const range: { -readonly [K in keyof TxnRange]: TxnRange[K] } = {};
  for (const name of BOUNDS) {
    if (record[name] !== undefined || record[`${name}64`] !== undefined)
      range[name] = decodeField(record, name);
  }
  const { limit, reverse, keysOnly } = record;
  if (limit !== undefined) {
    if (typeof limit !== 'number' || !Number.isSafeInteger(limit) || limit < 0)
      throw new NotARecord('its "limit" is not a whole number, 0 or more');
    range.limit = limit;
  }
  if (reverse !== undefined) range.reverse = flag('reverse', reverse);
  if (keysOnly !== undefined) range.keysOnly = flag('keysOnly', keysOnly);
  if (range.prefix !== undefined && (range.start !== undefined || range.end !== undefined))
    throw new NotARecord('give it a "prefix", or "start" and "end", not both');
  return range;
}

function flag(name: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  throw new NotARecord(`its "${name}" is not true or false`);
}
