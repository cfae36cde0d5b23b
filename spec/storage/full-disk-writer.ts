/** A process that writes until its disk takes no more, and prints what it was told. */
import { appendFileSync } from 'node:fs';
import { openRocksEngine, StorageError } from '../../storage/index.js';

const [, , path = '', journal = ''] = process.argv;
const engine = await openRocksEngine({ path });
const told: { code: string; message: string }[] = [];
async function attempt(call: () => Promise<unknown>): Promise<boolean> {
  try {
    await call();
    return true;
  } catch (error) {
    told.push(
      error instanceof StorageError
        ? { code: error.code, message: error.message }
        : { code: 'untyped', message: String(error) },
    );
    return false;
  }
}
const write = (i: number) => async () => {
  const batch = engine.batch();
  batch.put('default', Buffer.from(`k${String(i).padStart(6, '0')}`), Buffer.alloc(10_000, (i % 255) + 1));
  await engine.write(batch);
  await engine.sync();
};
for (let i = 0; await attempt(write(i)); i++) appendFileSync(journal, `${i}\n`);
await attempt(write(0));
await attempt(() => engine.sync());
await attempt(() => engine.get('default', Buffer.from('k')));
await engine.close().catch(() => {});
console.log(JSON.stringify(told));
