/** `troupe mvcc KEY`: what a store has of a transactional key. */

import type { Command } from 'commander';
import { ExitCode, TroupeError } from '../errors.js';
import type { KeyLock, KeyVersions } from '../index.js';
import { withDatabase } from './connection.js';
import { parseBytes, showBytes } from './kv-bytes.js';
import { encodeField } from './ndjson.js';
import { connectionSettings, withConnection } from './settings.js';
import { type Palette, paletteFor, print, say, table } from './terminal.js';

type Options = Readonly<Record<string, unknown>>;

/** Characters of a value in a table; --json prints all of it. */
const VALUE_WIDTH = 48;

export function addMvccCommand(program: Command): void {
  withConnection(
    program
      .command('mvcc')
      .summary('show every version of a transactional key')
      .description(
        'Shows the lock, every version and every rollback of a transactional key, the newest first; exit code 3 when there is none. One answer takes as many as fit into a message; --before shows those before them.\n\nExamples:\n  troupe mvcc hello\n  troupe mvcc hello --json\n  troupe mvcc hello --before 470763521981546496',
      )
      .argument('<key>')
      .option('--before <timestamp>', 'only versions committed before it')
      .option('--json', 'print one JSON object'),
  ).action(show);
}

async function show(keyText: string, options: Options): Promise<void> {
  const key = parseBytes('key', keyText);
  const before = timestampOf(options.before);
  const found = await withDatabase(connectionSettings(options), (db) => db.versions(key, { before }));
  if (options.json === true) print(versionsJson(key, found));
  else if (found.lock !== undefined || found.versions.length > 0)
    print(versionsPage(found, paletteFor(process.stdout)));
  if (found.lock === undefined && found.versions.length === 0) {
    say(`troupe: key "${showBytes(key)}" has no version`);
    process.exitCode = ExitCode.notFound;
  }
}

/** @throws TroupeError `usage` for what is no timestamp */
function timestampOf(text: unknown): bigint {
  if (text === undefined) return 0n;
  if (typeof text === 'string' && /^[1-9]\d{0,19}$/.test(text) && BigInt(text) < 2n ** 64n)
    return BigInt(text);
  throw new TroupeError('usage', `--before ${String(text)} is not a timestamp: give one that mvcc has shown`);
}

/** For people. */
export function versionsPage({ lock, versions, more }: KeyVersions, palette: Palette): string {
  const rows = versions.map(({ kind, commitTimestamp, startTimestamp, value, hasOverlappedRollback }) => [
    String(commitTimestamp),
    kind + (hasOverlappedRollback ? ', rollback' : ''),
    String(startTimestamp),
    value === undefined ? '' : shortened(showBytes(value)),
  ]);
  const parts = [
    ...(lock === undefined ? [] : [lockTable(lock, palette), '']),
    ...(rows.length === 0 ? [] : [table([['commit', 'kind', 'start', 'value'], ...rows], palette)]),
    ...(more ? [`(there are older ones: --before ${versions.at(-1)?.commitTimestamp} shows them)`] : []),
  ];
  return parts.join('\n').trimEnd();
}

/** Timestamps as strings: they do not fit a JSON number. */
export function versionsJson(key: Uint8Array, { lock, versions, more }: KeyVersions): string {
  const shown = versions.map(({ value, commitTimestamp, startTimestamp, kind, hasOverlappedRollback }) => {
    const bytes = value === undefined ? '' : `,${encodeField('value', value)}`;
    return `{"commitTimestamp":"${commitTimestamp}","startTimestamp":"${startTimestamp}","kind":"${kind}","hasOverlappedRollback":${hasOverlappedRollback}${bytes}}`;
  });
  return `{${encodeField('key', key)},"lock":${lock === undefined ? 'null' : lockJson(lock)},"versions":[${shown.join(',')}],"more":${more}}`;
}

function lockTable(lock: KeyLock, palette: Palette): string {
  const { kind, startTimestamp, primary, ttl, minCommitTimestamp, useAsyncCommit, txnSize } = lock;
  return table(
    [
      ['lock', 'start', 'primary', 'ttl', 'keys', 'least commit', 'commits'],
      [
        kind,
        String(startTimestamp),
        shortened(showBytes(primary)),
        `${ttl} ms`,
        String(txnSize),
        minCommitTimestamp === 0n ? '-' : String(minCommitTimestamp),
        useAsyncCommit ? 'async' : 'in two phases',
      ],
    ],
    palette,
  );
}

function lockJson(lock: KeyLock): string {
  const { kind, startTimestamp, primary, ttl, txnSize, minCommitTimestamp, useAsyncCommit } = lock;
  const secondaries = lock.secondaries.map((key) => `{${encodeField('key', key)}}`).join(',');
  return `{"kind":"${kind}","startTimestamp":"${startTimestamp}",${encodeField('primary', primary)},"ttl":${ttl},"txnSize":${txnSize},"minCommitTimestamp":"${minCommitTimestamp}","useAsyncCommit":${useAsyncCommit},"secondaries":[${secondaries}]}`;
}

function shortened(text: string): string {
  return text.length <= VALUE_WIDTH ? text : `${text.slice(0, VALUE_WIDTH - 1)}…`;
}
