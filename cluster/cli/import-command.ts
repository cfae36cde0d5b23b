/** `troupe kv import`. */

import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { TroupeError } from '../errors.js';
import { Checkpoint } from './checkpoint.js';
import { withDatabase } from './connection.js';
import { type ImportProgress, importRecords, PASSING } from './importer.js';
import { type LineSource, openLines } from './lines.js';
import { type ConnectionSettings, connectionSettings, parseDuration, withConnection } from './settings.js';
import { bar, elapsed, grouped, LiveLine, print, say } from './terminal.js';

const SAVE_INTERVAL_MS = 1000;
const INTERRUPTED = 130;

export function addImportCommand(kv: Command): void {
  withConnection(
    kv
      .command('import')
      .summary('load records from NDJSON')
      .description(
        'Loads lines of {"key": …, "value": …} (key64, value64 in base64 where they are not UTF-8), plain or gzip.\nThe same import may run again: its puts are the same puts.\n\nExamples:\n  troupe kv import packages.ndjson.gz\n  troupe kv import packages.ndjson.gz --resume\n  zcat packages.ndjson.gz | troupe kv import -',
      )
      .argument('<file>', 'the file, or - for standard input')
      .option('--resume', 'go on where an interrupted import of this file stopped')
      .option(
        '--retry-for <duration>',
        'how long to go on while the cluster is not available, once it was reached',
        '60s',
      )
      .option('--json', 'print the result as JSON'),
  ).action(runImport);
}

interface ImportCommandOptions {
  readonly resume?: boolean;
  readonly retryFor: string;
  readonly json?: boolean;
}

async function runImport(
  file: string,
  options: ImportCommandOptions & Record<string, unknown>,
): Promise<void> {
  const settings = connectionSettings(options);
  const patienceMs = parseDuration('--retry-for', options.retryFor);
  const source = openLines(file);
  const resumable = file === '-' ? undefined : new ResumeFile(file, settings);
  if (options.resume && resumable === undefined) {
    throw new TroupeError('usage', '--resume needs a file: standard input cannot be read again');
  }
  const skipLines = options.resume ? (resumable?.line() ?? 0) : 0;
  if (options.resume)
    say(
      skipLines > 0
        ? `resuming after line ${grouped(skipLines)}`
        : 'nothing to resume: importing from the first line',
    );

  const interruption = new AbortController();
  const interrupt = (): void => {
    if (interruption.signal.aborted) process.exit(INTERRUPTED);
    interruption.abort();
  };
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  const progress: ImportProgress = { acknowledgedLine: 0, records: 0 };
  const from = performance.now();
  const live = new LiveLine(() => progressText(source, progress, from));
  const saving = setInterval(() => resumable?.save(progress.acknowledgedLine), SAVE_INTERVAL_MS);
  let failure: unknown;
  try {
    await withDatabase(settings, (db) =>
      importRecords({
        lines: source.lines,
        skipLines,
        patienceMs,
        signal: interruption.signal,
        progress,
        put: (records) => db.raw.batchPut(records.map(({ key, value }) => [key, value] as const)),
      }),
    );
  } catch (error) {
    failure = error;
  } finally {
    clearInterval(saving);
    live.done();
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
  }

  const took = performance.now() - from;
  const interrupted = interruption.signal.aborted;
  if (interrupted || failure !== undefined) {
    const { records } = progress;
    const stay = records === 1 ? 'record was imported and stays' : 'records were imported and stay';
    // After a fault of the file its content will be another, so there is nothing to resume.
    const mayResume = interrupted || (failure instanceof TroupeError && PASSING.has(failure.code));
    const kept = mayResume && resumable?.save(progress.acknowledgedLine) === true;
    if (!mayResume) resumable?.remove();
    say(
      `${interrupted ? 'interrupted' : 'stopped'}: ${grouped(records)} ${stay}${kept ? `; to go on, give --resume` : ''}`,
    );
    if (!interrupted) throw failure;
    process.exitCode = INTERRUPTED;
    return;
  }
  resumable?.remove();
  const rate = grouped(progress.records / (took / 1000));
  say(`imported ${grouped(progress.records)} records in ${elapsed(took)} (${rate} a second)`);
  if (options.json)
    print(JSON.stringify({ records: progress.records, skippedLines: skipLines, seconds: took / 1000 }));
}

function progressText(source: LineSource, progress: ImportProgress, from: number): string {
  const seconds = (performance.now() - from) / 1000;
  const rate = grouped(progress.records / Math.max(seconds, 0.001));
  const done = `${grouped(progress.records)} records, ${rate} a second`;
  return source.totalBytes ? `${bar(source.bytesRead() / source.totalBytes)}  ${done}` : done;
}

/** What is remembered of a file's import: the file as it was, and the line up to which all is durable. */
class ResumeFile {
  readonly #checkpoint: Checkpoint;
  readonly #path: string;
  readonly #size: number;
  readonly #modified: number;

  constructor(path: string, { cluster, nats }: ConnectionSettings) {
    this.#path = path;
    const { size, mtimeMs } = statSync(path);
    this.#size = size;
    this.#modified = mtimeMs;
    this.#checkpoint = new Checkpoint(['import', resolve(path), cluster, nats]);
  }

  /** @throws TroupeError `conflict` when the file is another one by now */
  line(): number {
    const state = this.#checkpoint.read();
    if (state === undefined) return 0;
    if (state.size !== this.#size || state.modified !== this.#modified) {
      throw new TroupeError(
        'conflict',
        `${this.#path} has changed since its import stopped: import it from the beginning, without --resume`,
      );
    }
    return typeof state.line === 'number' ? state.line : 0;
  }

  save(line: number): boolean {
    return line > 0 && this.#checkpoint.write({ size: this.#size, modified: this.#modified, line });
  }

  remove(): void {
    this.#checkpoint.remove();
  }
}
