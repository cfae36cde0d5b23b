/**
 * A process that writes until it is killed. Each batch puts its number under several keys in several families, so that
 * a half applied one shows. The journal (third argument) tells, in order, what was synced and which batches a completed
 * sync covers; it survives a kill, as the page cache does.
 */
import { appendFileSync, openSync } from 'node:fs';
import { COLUMN_FAMILIES, openRocksEngine } from '../../storage/index.js';

export const KEYS_PER_FAMILY = 3;

/** The value of a batch's keys: its number, then bytes of no meaning. */
export function batchValue(batch: number): Buffer {
  const value = Buffer.alloc(40 + ((batch * 7919) % 3000), (batch * 31) % 255 || 1);
  value.writeUInt32BE(batch, 0);
  return value;
}

async function main(path: string, journalPath: string): Promise<void> {
  const journal = openSync(journalPath, 'a');
  const engine = await openRocksEngine({
    path,
    // Small, so that files are switched, flushed and deleted all the time.
    writeBuffers: { default: 128 << 10, lock: 96 << 10, write: 192 << 10, log: 64 << 10, raft: 256 << 10 },
    walLimitBytes: 2 << 20,
    onSynced: ({ file, length }) => appendFileSync(journal, `synced ${file} ${length}\n`),
  });
  const last = await engine.get('raft', Buffer.from('k0'));
  let batch = last ? Buffer.from(last).readUInt32BE(0) : 0;
  let written = batch;
  let syncing = false;
  const sync = async () => {
    syncing = true;
    const covered = written;
    appendFileSync(journal, `syncing ${covered}\n`);
    await engine.sync();
    appendFileSync(journal, `durable ${covered}\n`);
    syncing = false;
  };
  for (;;) {
    batch++;
    const changes = engine.batch();
    for (const cf of COLUMN_FAMILIES) {
      for (let key = 0; key < KEYS_PER_FAMILY; key++)
        changes.put(cf, Buffer.from(`k${key}`), batchValue(batch));
    }
    await engine.write(changes);
    written = batch;
    // Some batches are synced at once, some share a sync that runs beside the next writes.
    if (batch % 3 === 0) await sync();
    else if (!syncing && batch % 5 === 0) void sync();
  }
}

const [, , path, journalPath] = process.argv;
if (process.argv[1]?.endsWith('power-loss-writer.js') && path && journalPath) await main(path, journalPath);
