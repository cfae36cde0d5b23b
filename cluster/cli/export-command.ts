/** `troupe kv export`. */

import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { Command } from 'commander';
import { keyAfter, prefixEnd } from '../../storage/keys.js';
import { TroupeError } from '../errors.js';
import { withDatabase } from './connection.js';
import { ExportFile, type ExportSink, StandardOutput } from './export-file.js';
import { parseBytes } from './kv-bytes.js';
import { encodeRecord } from './ndjson.js';
import { connectionSettings, withConnection } from './settings.js';
import { elapsed, grouped, LiveLine, print, say } from './terminal.js';

/** Text gathered before it is written: a segment, after which an interrupted export can go on. */
const SEGMENT_CHARACTERS = 1 << 20;
const compress = promisify(gzip);

export function addExportCommand(kv: Command): void {
  withConnection(
    kv
      .command('export')
      .summary('write records as NDJSON')
      .description(
        'Writes every record as a line of JSON, in the order of the keys, to a file or standard output.\nEach page of it is as new as the moment it is read; the whole is not one snapshot.\n\nExamples:\n  troupe kv export backup.ndjson.gz\n  troupe kv export backup.ndjson.gz --resume\n  troupe kv export --prefix user/ | jq .key',
      )
      .argument('[file]', 'the file, packed when it ends in .gz; standard output if absent or -', '-')
      .option('--prefix <key>', 'only keys that begin with this')
      .option('--gzip', 'pack standard output too')
      .option('--resume', 'go on where an interrupted export to this file stopped')
      .option('--json', 'print the result as JSON (with a file)'),
  ).action(runExport);
}

interface ExportCommandOptions {
  readonly prefix?: string;
  readonly gzip?: boolean;
  readonly resume?: boolean;
  readonly json?: boolean;
}

async function runExport(
  file: string,
  options: ExportCommandOptions & Record<string, unknown>,
): Promise<void> {
  const settings = connectionSettings(options);
  const prefix = options.prefix === undefined ? undefined : parseBytes('--prefix', options.prefix);
  const packed = options.gzip === true || file.endsWith('.gz');
  if (file === '-' && (options.resume || options.json)) {
    throw new TroupeError('usage', `${options.resume ? '--resume' : '--json'} needs a file: name one`);
  }
  const identity = [settings.cluster, settings.nats, options.prefix ?? ''];
  const sink: ExportSink =
    file === '-' ? new StandardOutput() : new ExportFile(file, identity, options.resume === true);
  if (options.resume) {
    say(
      sink.records === 0
        ? 'nothing to resume: exporting from the first record'
        : `resuming after ${grouped(sink.records)} records`,
    );
  }
  const from = performance.now();
  let records = sink.records;
  const live = new LiveLine(() => `${grouped(records)} records`);
  let interrupted = false;
  const interrupt = (): void => {
    if (interrupted) process.exit(130);
    interrupted = true;
  };
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  try {
    await withDatabase(settings, async (db) => {
      let lastKey = sink.lastKey;
      const start = lastKey === undefined ? prefix : keyAfter(lastKey);
      const end = prefix === undefined ? undefined : prefixEnd(prefix);
      const range = { ...(start === undefined ? {} : { start }), ...(end === undefined ? {} : { end }) };
      let text = '';
      const flush = async (): Promise<void> => {
        if (text === '' || lastKey === undefined) return;
        const segment = Buffer.from(text);
        text = '';
        await sink.write(packed ? await compress(segment) : segment, lastKey, records);
      };
      for await (const record of db.raw.scan(range)) {
        text += `${encodeRecord(record)}\n`;
        lastKey = record.key;
        records++;
        if (text.length >= SEGMENT_CHARACTERS) await flush();
        if (interrupted) break;
      }
      await flush();
    });
  } catch (error) {
    live.done();
    say(`stopped: ${sink.hint()}`);
    throw error;
  } finally {
    live.done();
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }
  if (interrupted) {
    say(`interrupted: ${sink.hint()}`);
    process.exitCode = 130;
    return;
  }
  sink.finish();
  const took = performance.now() - from;
  say(`exported ${grouped(records)} records in ${elapsed(took)}`);
  if (options.json) print(JSON.stringify({ records, seconds: took / 1000 }));
}
