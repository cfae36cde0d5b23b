/** A process that writes a file beside its database until the disk takes no more, and prints what it was told. */
import { openRocksEngine, StorageError } from '../../storage/index.js';

const [, , path = ''] = process.argv;
const engine = await openRocksEngine({ path });
const file = await engine.files.open('large');
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
const part = Buffer.alloc(100_000, 1);
while (await attempt(() => file.append(part)));
await attempt(() => file.append(part));
await attempt(() => file.sync());
await attempt(() => engine.files.list());
await attempt(() => {
  const batch = engine.batch();
  batch.put('default', part.subarray(0, 1), part);
  return engine.write(batch);
});
await attempt(() => engine.sync());
await file.close();
await engine.close().catch(() => {});
console.log(JSON.stringify(told));
