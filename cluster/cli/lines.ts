/** Reading a file or standard input as lines, compressed or not, with a count of the bytes taken from it. */

import { createReadStream, statSync } from 'node:fs';
import { pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { TroupeError } from '../errors.js';

const NEWLINE = 0x0a;
const GZIP_MAGIC = [0x1f, 0x8b];
/** No record is longer: a value fits a frame of 1 MiB, and base64 and escapes blow it up by at most six. */
const MAX_LINE_BYTES = 8 * 1024 * 1024;

export interface LineSource {
  /** Size of the file; `undefined` for a pipe. */
  readonly totalBytes: number | undefined;
  /** Bytes of the file or pipe read so far, compressed as they are. */
  bytesRead(): number;
  /** Lines without their ends, many at a time. @throws TroupeError `failed` when it cannot be read or unpacked */
  readonly lines: AsyncIterable<readonly Buffer[]>;
}

/**
 * @param path `-` for standard input
 * @throws TroupeError `usage` when there is no such file
 */
export function openLines(path: string): LineSource {
  if (path === '-') return lineSource(process.stdin, undefined, 'standard input');
  let size: number;
  try {
    const stats = statSync(path);
    if (stats.isDirectory()) throw new Error('it is a directory');
    size = stats.size;
  } catch (cause) {
    throw unreadable(path, cause);
  }
  return lineSource(createReadStream(path, { highWaterMark: 1 << 18 }), size, path);
}

/** What is said of a file that somebody named and that cannot be read. */
export function unreadable(path: string, cause: unknown): TroupeError {
  const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
  const reason =
    code === 'ENOENT'
      ? 'there is no such file'
      : code === 'EISDIR'
        ? 'it is a directory'
        : String(cause instanceof Error ? cause.message : cause);
  return new TroupeError('usage', `${path} cannot be read: ${reason}`, { cause });
}

function lineSource(input: Readable, totalBytes: number | undefined, name: string): LineSource {
  let bytes = 0;
  const counted = async function* (): AsyncGenerator<Buffer> {
    for await (const chunk of input as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      yield chunk;
    }
  };
  return { totalBytes, bytesRead: () => bytes, lines: split(unpacked(counted(), name), name) };
}

/** Unpacks gzip, told by its first two bytes. */
async function* unpacked(chunks: AsyncGenerator<Buffer>, name: string): AsyncGenerator<Buffer> {
  const head: Buffer[] = [];
  let length = 0;
  while (length < GZIP_MAGIC.length) {
    const next = await chunks.next();
    if (next.done === true) break;
    head.push(next.value);
    length += next.value.length;
  }
  const first = Buffer.concat(head);
  const all = async function* (): AsyncGenerator<Buffer> {
    if (first.length > 0) yield first;
    yield* chunks;
  };
  if (!GZIP_MAGIC.every((byte, index) => first[index] === byte)) {
    yield* all();
    return;
  }
  const gunzip = createGunzip({ chunkSize: 1 << 18 });
  // The reader of `gunzip` is told of every error.
  pipeline(all(), gunzip, () => {});
  try {
    yield* gunzip as AsyncIterable<Buffer>;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new TroupeError('failed', `${name} is not whole gzip: ${reason}`, { cause });
  }
}

async function* split(chunks: AsyncIterable<Buffer>, name: string): AsyncGenerator<readonly Buffer[]> {
  let rest: Buffer[] = [];
  let restBytes = 0;
  for await (const chunk of chunks) {
    const lines: Buffer[] = [];
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      const tail = chunk.subarray(from, end);
      lines.push(rest.length === 0 ? tail : Buffer.concat([...rest, tail]));
      rest = [];
      restBytes = 0;
      from = end + 1;
    }
    if (from < chunk.length) {
      rest.push(chunk.subarray(from));
      restBytes += chunk.length - from;
      if (restBytes > MAX_LINE_BYTES) {
        throw new TroupeError('failed', `${name} has a line of more than 8 MiB: it is not NDJSON`);
      }
    }
    if (lines.length > 0) yield lines;
  }
  if (rest.length > 0) yield [Buffer.concat(rest)];
}
