/** `troupe txn get | put | delete | scan | run`. */

import { createReadStream } from 'node:fs';
import { buffer } from 'node:stream/consumers';
import type { Command } from 'commander';
import type { Transaction } from '../index.js';
import { withDatabase } from './connection.js';
import { parseBytes, showBytes } from './kv-bytes.js';
import { BYTES_NOTE, givenValue, lineFormat, printValue, rangeOf } from './kv-values.js';
import { unreadable } from './lines.js';
import { connectionSettings, withConnection } from './settings.js';
import { print, printAll, say, untilReaderIsLost } from './terminal.js';
import { parseTxnScript, readingLines, readingsJson, runTxnScript, type TxnReading } from './txn-script.js';

type Options = Readonly<Record<string, unknown>>;

export function addTxnCommands(program: Command): void {
  const txn = program
    .command('txn')
    .summary('read and write transactional data')
    .description(
      `Reads and writes transactional keys, which are others than those of "kv".\n${BYTES_NOTE}\n\nExamples:\n  troupe txn put hello world\n  troupe txn scan --prefix user/\n  troupe txn run transfer.json --json`,
    );

  withConnection(
    txn
      .command('get')
      .summary('print the value of a key')
      .description(
        'Prints the value of a key as it is committed now; exit code 3 when it has none.\n\nExamples:\n  troupe txn get hello\n  troupe txn get image --raw > image.png',
      )
      .argument('<key>')
      .option('--raw', 'print the bytes as they are, without a line end')
      .option('--json', 'print a record as JSON'),
  ).action(get);

  withConnection(
    txn
      .command('put')
      .summary('set the value of a key')
      .description(
        "Sets the value of a key in a transaction of its own.\n\nExamples:\n  troupe txn put hello world\n  troupe txn put bytes '\\x00\\xff'\n  troupe txn put image - < image.png",
      )
      .argument('<key>')
      .argument('<value>', 'the value, or - to take the bytes of standard input')
      .option('--raw', 'take the value as it is, backslashes too'),
  ).action(put);

  withConnection(
    txn
      .command('delete')
      .alias('del')
      .summary('remove a key')
      .description('Removes a key, whether it is there or not.\n\nExamples:\n  troupe txn delete hello')
      .argument('<key>'),
  ).action(remove);

  withConnection(
    txn
      .command('scan')
      .summary('print keys and values of a range')
      .description(
        'Prints keys and values in order, all as they were at one moment: the key, a tab, the value.\n\nExamples:\n  troupe txn scan --prefix user/\n  troupe txn scan --start a --end b --limit 100 --reverse',
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
    txn
      .command('run')
      .summary('run a list of operations as one transaction')
      .description(
        'Runs the operations of a JSON list in their order, as one transaction: all of its writes happen, or none. It is begun anew after a conflict. Operations are get, put, insert, delete, lock, expect and scan; key64 and value64 are base64. An expect demands that a key has a "value", or is "absent": true, when the transaction commits. Prints what was read. Exit code 4 for a conflict that stays, a key to be inserted that is there, or one that is not as expected.\n\nExamples:\n  troupe txn run transfer.json\n  echo \'[{"op":"expect","key":"a","value":"1"},{"op":"put","key":"a","value":"2"}]\' | troupe txn run -\n  echo \'[{"op":"get","key":"a"},{"op":"put","key":"b","value":"1"}]\' | troupe txn run - --json',
      )
      .argument('<file>', 'the list, or - for standard input')
      .option('--json', 'print the timestamps and what was read as one JSON object'),
  ).action(run);
}

async function get(keyText: string, options: Options): Promise<void> {
  const key = parseBytes('key', keyText);
  const value = await withDatabase(connectionSettings(options), (db) =>
    db.transaction((transaction) => transaction.get(key)),
  );
  await printValue(key, value, options);
}

async function put(keyText: string, valueText: string, options: Options): Promise<void> {
  const key = parseBytes('key', keyText);
  const settings = connectionSettings(options);
  const value = await givenValue(valueText, options);
  await withDatabase(settings, (db) => db.transaction((transaction) => transaction.put(key, value)));
}

async function remove(keyText: string, options: Options): Promise<void> {
  const key = parseBytes('key', keyText);
  await withDatabase(connectionSettings(options), (db) =>
    db.transaction((transaction) => transaction.delete(key)),
  );
}

async function scan(options: Options): Promise<void> {
  const settings = connectionSettings(options);
  const range = rangeOf(options);
  const line = lineFormat(options.json === true, range.keysOnly);
  const reader = untilReaderIsLost();
  await withDatabase(settings, async (db) => {
    const view = await db.snapshot();
    try {
      for await (const { key, value } of view.scan(range)) {
        await printAll(`${line(key, value)}\n`);
        // With `| head` the rest is for nobody; the snapshot is let go of all the same.
        if (reader.aborted) break;
      }
    } finally {
      await view.close();
    }
  });
}

async function run(file: string, options: Options): Promise<void> {
  const settings = connectionSettings(options);
  const operations = parseTxnScript(await contentOf(file));
  let last: Transaction | undefined;
  let readings: readonly TxnReading[] = [];
  await withDatabase(settings, (db) =>
    db.transaction(async (transaction) => {
      last = transaction;
      readings = await runTxnScript(transaction, operations);
    }),
  );
  if (last === undefined) return;
  if (options.json === true) {
    print(readingsJson(last, readings));
    return;
  }
  for (const reading of readings) {
    for (const line of readingLines(reading)) await printAll(`${line}\n`);
    if (reading.op === 'get' && reading.value === undefined)
      say(`troupe: key "${showBytes(reading.key)}" not found`);
  }
}

async function contentOf(file: string): Promise<Uint8Array> {
  try {
    return await buffer(file === '-' ? process.stdin : createReadStream(file));
  } catch (cause) {
    throw unreadable(file, cause);
  }
}
