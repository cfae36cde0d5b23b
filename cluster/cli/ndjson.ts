/**
 * Records as lines of JSON: `{"key": …, "value": …}`, and `key64` or `value64` (base64) for what is not valid UTF-8.
 */

import { isUtf8 } from 'node:buffer';

export interface KvRecord {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** A line that is not a record; the message says why, without the line's number. */
export class NotARecord extends Error {}

const FIELDS = new Set(['key', 'value', 'key64', 'value64']);
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** One line, without its line end. */
export function encodeRecord({ key, value }: KvRecord): string {
  return `{${encodeField('key', key)},${encodeField('value', value)}}`;
}

/** A key or value as a JSON field of that name, or of the name with 64. */
export function encodeField(name: string, bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return isUtf8(buffer)
    ? `"${name}":${JSON.stringify(buffer.toString('utf8'))}`
    : `"${name}64":"${buffer.toString('base64')}"`;
}

/** @throws NotARecord */
export function decodeRecord(line: string): KvRecord {
  let content: unknown;
  try {
    content = JSON.parse(line);
  } catch {
    throw new NotARecord('it is not JSON');
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw new NotARecord('it is not a JSON object');
  }
  const unknown = Object.keys(content).find((name) => !FIELDS.has(name));
  if (unknown !== undefined) throw new NotARecord(`it has a field "${unknown}" that a record does not have`);
  const record: Readonly<Record<string, unknown>> = { ...content };
  return { key: decodeField(record, 'key'), value: decodeField(record, 'value') };
}

/** The bytes of a JSON field of that name, or of the name with 64. @throws NotARecord unless there is exactly one */
export function decodeField(record: Readonly<Record<string, unknown>>, name: string): Uint8Array {
  const text = record[name];
  const base64 = record[`${name}64`];
  if (text !== undefined && base64 !== undefined)
    throw new NotARecord(`it has both "${name}" and "${name}64"`);
  if (typeof text === 'string') {
    if (!text.isWellFormed()) {
      throw new NotARecord(`its "${name}" holds half a surrogate pair, which has no UTF-8: use "${name}64"`);
    }
    return Buffer.from(text, 'utf8');
  }
  if (typeof base64 === 'string' && BASE64.test(base64)) return Buffer.from(base64, 'base64');
  if (base64 !== undefined) throw new NotARecord(`its "${name}64" is not base64`);
  throw new NotARecord(text === undefined ? `it has no "${name}"` : `its "${name}" is not a string`);
}
