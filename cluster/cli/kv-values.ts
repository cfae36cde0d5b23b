/** Values and ranges as the commands `kv` and `txn` take and print them. */

import { buffer } from 'node:stream/consumers';
import { ExitCode, TroupeError } from '../errors.js';
import { parseBytes, showBytes } from './kv-bytes.js';
import { encodeField, encodeRecord } from './ndjson.js';
import { parseCount } from './settings.js';
import { print, printAll, say } from './terminal.js';

type Options = Readonly<Record<string, unknown>>;

export const BYTES_NOTE =
  'Keys and values print as text; bytes outside 0x20 to 0x7e and the backslash as \\xNN, and are typed so.';

/** As `--json` and `--raw` say; exit code 3 when there is none. */
export async function printValue(
  key: Uint8Array,
  value: Uint8Array | undefined,
  options: Options,
): Promise<void> {
  if (value === undefined) {
    say(`troupe: key "${showBytes(key)}" not found`);
    process.exitCode = ExitCode.notFound;
  } else if (options.json) {
    print(encodeRecord({ key, value }));
  } else if (options.raw) {
    await printAll(value);
  } else {
    print(showBytes(value));
  }
}

/** The value that a command was given: `-` is standard input, and `--raw` takes backslashes as they are. */
export async function givenValue(text: string, options: Options): Promise<Uint8Array> {
  if (text === '-') return buffer(process.stdin);
  return options.raw ? Buffer.from(text) : parseValue(text);
}

/** The range of a scan, from its options. @throws TroupeError `usage`, `invalid-argument` */
export function rangeOf(options: Options) {
  if (options.prefix !== undefined && (options.start !== undefined || options.end !== undefined)) {
    throw new TroupeError('usage', 'give --prefix, or --start and --end, not both');
  }
  const bound = (name: 'prefix' | 'start' | 'end'): Record<string, Uint8Array> => {
    const text = options[name];
    return typeof text === 'string' ? { [name]: parseBytes(`--${name}`, text) } : {};
  };
  return {
    ...bound('prefix'),
    ...bound('start'),
    ...bound('end'),
    ...(typeof options.limit === 'string' ? { limit: parseCount('--limit', options.limit, 0) } : {}),
    reverse: options.reverse === true,
    keysOnly: options.keysOnly === true,
  };
}

/** How a scan prints a pair. */
export function lineFormat(json: boolean, keysOnly: boolean): (key: Uint8Array, value: Uint8Array) => string {
  if (json) return (key, value) => (keysOnly ? `{${encodeField('key', key)}}` : encodeRecord({ key, value }));
  return (key, value) => (keysOnly ? showBytes(key) : `${showBytes(key)}\t${showBytes(value)}`);
}

/** @throws TroupeError `invalid-argument` at a lone backslash */
export function parseValue(text: string): Uint8Array {
  try {
    return parseBytes('value', text);
  } catch (error) {
    if (error instanceof TroupeError) {
      throw new TroupeError(error.code, `${error.message}, or give --raw to take the value as it is`, {
        cause: error,
      });
    }
    throw error;
  }
}
