/** `troupe kv get | put | delete | scan | cas | delete-range`. */

import type { Command } from 'commander';
import { TroupeError } from '../errors.js';
import { withDatabase } from './connection.js';
import { addExportCommand } from './export-command.js';
import { addImportCommand } from './import-command.js';
import { parseBytes, showBytes } from './kv-bytes.js';
import { BYTES_NOTE, givenValue, lineFormat, parseValue, printValue, rangeOf } from './kv-values.js';
import { connectionSettings, withConnection } from './settings.js';
import { printAll } from './terminal.js';

type Options = Readonly<Record<string, unknown>>;

export function addKvCommands(program: Command): void {
  const kv = program
    .command('kv')
    .summary('read and write data')
    .description(
      `Reads and writes keys.\n${BYTES_NOTE}\n\nExamples:\n  troupe kv put hello world\n  troupe kv get hello\n  troupe kv scan --prefix user/ --limit 10\n  troupe kv import records.ndjson.gz`,
    );

  withConnection(
    kv
      .command('get')
      .summary('print the value of a key')
      .description(
        'Prints the value of a key; exit code 3 when it has none.\n\nExamples:\n  troupe kv get hello\n  troupe kv get image --raw > image.png',
      )
      .argument('<key>')
      .option('--raw', 'print the bytes as they are, without a line end')
      .option('--json', 'print a record as JSON'),
  ).action(get);

  withConnection(
    kv
      .command('put')
      .summary('set the value of a key')
      .description(
        "Sets the value of a key. It is durable on a majority when this returns.\n\nExamples:\n  troupe kv put hello world\n  troupe kv put bytes '\\x00\\xff'\n  troupe kv put image - < image.png",
      )
      .argument('<key>')
      .argument('<value>', 'the value, or - to take the bytes of standard input')
      .option('--raw', 'take the value as it is, backslashes too'),
  ).action(put);

  withConnection(
    kv
      .command('delete')
      .alias('del')
      .summary('remove a key')
      .description('Removes a key, whether it is there or not.\n\nExamples:\n  troupe kv delete hello')
      .argument('<key>'),
  ).action(remove);

  withConnection(
    kv
      .command('scan')
      .summary('print keys and values of a range')
      .description(
        'Prints keys and values in order, one line each: the key, a tab, the value.\n\nExamples:\n  troupe kv scan --prefix user/\n  troupe kv scan --start a --end b --limit 100 --reverse\n  troupe kv scan --keys-only | wc -l',
      )
      .option('--prefix <key>', 'only keys that begin with this')
      .option('--start <key>', 'from this key on')
      .option('--end <key>', 'up to this key, without it')
      .option('--limit <count>', 'at most so many')
      .option('--reverse', 'from the last key down')
      .option('--keys-only', 'without values')
      .option('--json', 'print records as NDJSON'),
  ).action(scan);

  withConnection(
    kv
      .command('cas')
      .summary('set the value of a key if it has the expected one')
      .description(
        'Compares and swaps: sets the new value only when the key has the expected one; exit code 4 when it has not.\n\nExamples:\n  troupe kv cas counter 1 2\n  troupe kv cas lock --absent mine',
      )
      .argument('<key>')
      .argument('<values...>', 'the expected value and the new one; with --absent the new one alone')
      .option('--absent', 'expect that the key has no value'),
  ).action(compareAndSwap);

  withConnection(
    kv
      .command('delete-range')
      .summary('remove every key of a range')
      .description(
        'Removes every key from START up to END, without END.\n\nExamples:\n  troupe kv delete-range user/ user0',
      )
      .argument('<start>')
      .argument('<end>'),
  ).action(deleteRange);

  addImportCommand(kv);
  addExportCommand(kv);
}

async function get(keyText: string, options: Options): Promise<void> {
  const key = parseBytes('key', keyText);
  const value = await withDatabase(connectionSettings(options), (db) => db.raw.get(key));
  await printValue(key, value, options);
}

async function put(keyText: string, valueText: string, options: Options): Promise<void> {
  const key = parseBytes('key', keyText);
  const settings = connectionSettings(options);
  const value = await givenValue(valueText, options);
  await withDatabase(settings, (db) => db.raw.put(key, value));
}

async function remove(keyText: string, options: Options): Promise<void> {
  const key = parseBytes('key', keyText);
  await withDatabase(connectionSettings(options), (db) => db.raw.delete(key));
}

async function scan(options: Options): Promise<void> {
  const settings = connectionSettings(options);
  const range = rangeOf(options);
  const line = lineFormat(options.json === true, range.keysOnly);
  await withDatabase(settings, async (db) => {
    for await (const { key, value } of db.raw.scan(range)) await printAll(`${line(key, value)}\n`);
  });
}

async function compareAndSwap(keyText: string, values: readonly string[], options: Options): Promise<void> {
  const key = parseBytes('key', keyText);
  const wanted = options.absent ? 1 : 2;
  if (values.length !== wanted) {
    throw new TroupeError(
      'usage',
      options.absent
        ? 'give one value with --absent: the new one'
        : 'give two values: the expected one and the new one',
    );
  }
  const [last = '', previous] = [...values].reverse();
  const expected = previous === undefined ? undefined : parseValue(previous);
  const value = parseValue(last);
  const result = await withDatabase(connectionSettings(options), (db) =>
    db.raw.compareAndSwap(key, expected, value),
  );
  if (result.swapped) return;
  const found =
    result.previous === undefined ? 'has no value' : `has the value "${showBytes(result.previous)}"`;
  throw new TroupeError('conflict', `key "${showBytes(key)}" ${found}: it was not changed`);
}

async function deleteRange(startText: string, endText: string, options: Options): Promise<void> {
  const start = parseBytes('start', startText);
  const end = parseBytes('end', endText);
  if (Buffer.compare(start, end) >= 0) throw new TroupeError('usage', 'START must come before END');
  await withDatabase(connectionSettings(options), (db) => db.raw.deleteRange(start, end));
}
