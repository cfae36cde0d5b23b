/** How a process that serves ends: at a signal, when its launcher is gone, or when it fails. */

import { say } from './terminal.js';

/** After this long a process that was told to stop is ended; Kubernetes kills after 30 s. */
const STOP_DEADLINE_MS = 25_000;

export interface Serving {
  close(): Promise<void>;
  /** Resolves when it cannot go on. */
  readonly failed: Promise<Error>;
}

/** Resolves at the first signal, or when the launcher is gone; a second signal ends the process at once. */
export function stopRequest(): Promise<undefined> {
  return new Promise((resolve) => {
    let asked = false;
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
      process.on(signal, () => {
        if (asked) process.exit(signal === 'SIGINT' ? 130 : 143);
        asked = true;
        resolve(undefined);
      });
    }
    process.once('disconnect', () => resolve(undefined));
  });
}

/**
 * Serves until somebody asks for an end or it fails, then closes it.
 * @param leave what it does first when it was asked to end
 * @throws its failure
 */
export async function serve(
  serving: Serving,
  name: string,
  stopWanted: Promise<undefined>,
  leave: () => Promise<unknown> = () => Promise.resolve(),
): Promise<void> {
  const failure = await Promise.race([serving.failed, stopWanted]);
  setTimeout(() => {
    say(`troupe: ${name} did not stop within ${STOP_DEADLINE_MS / 1000} s and is ended`);
    process.exit(1);
  }, STOP_DEADLINE_MS).unref();
  if (failure === undefined) {
    await leave();
    await serving.close();
    return;
  }
  await serving.close().catch(() => {});
  throw failure;
}
