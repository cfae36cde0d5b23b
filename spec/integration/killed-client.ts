import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const WORKER = fileURLToPath(new URL('./dying-client.js', import.meta.url));

/** What a client process is to do. */
export interface Errand {
  readonly servers: string;
  readonly cluster: string;
  readonly keys: readonly string[];
  /** What it puts under all of them, in one transaction. */
  readonly value: string;
  readonly options: { readonly onePc: boolean; readonly asyncCommit: boolean };
  /** Messages that ask for something, from the beginning of the transaction on, after which it is killed. */
  readonly messages: number;
}

/** One line that it prints. */
export type Remark =
  /** Before it dies: what it has asked for in each of its messages. */
  | { readonly asked: readonly (readonly string[])[] }
  /** How it saw its transaction end. */
  | { readonly told: string }
  | { readonly ready: true };

export const READY: Remark = { ready: true };

export interface Fate {
  /** False when it was done before it had sent so many messages. */
  readonly killed: boolean;
  /** What it has asked for in its last message. */
  readonly last: readonly string[];
  /** How it saw its transaction end; absent: it did not live to see that. */
  readonly told: string | undefined;
}

/** None outlives the process that runs the specs. */
const running = new Set<ReturnType<typeof spawn>>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** Runs a client process to its end. @throws Error with what it printed, when it ends in any other way than it should */
export function killedAt(errand: Errand): Promise<Fate> {
  const child = spawn(process.execPath, [WORKER, JSON.stringify(errand)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  let printed = '';
  let complaints = '';
  child.stdout.on('data', (chunk) => {
    printed += chunk;
  });
  child.stderr.on('data', (chunk) => {
    complaints += chunk;
  });
  return new Promise((resolve, reject) => {
    child.once('close', (code, signal) => {
      running.delete(child);
      const remarks = printed
        .trim()
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as Remark);
      const killed = signal === 'SIGKILL';
      if (!killed && (code !== 0 || remarks.length < 2)) {
        reject(
          new Error(`the client ended with ${signal ?? `exit code ${code}`}: ${printed}\n${complaints}`),
        );
        return;
      }
      const asked = remarks.flatMap((one) => ('asked' in one ? one.asked : []));
      const told = remarks.flatMap((one) => ('told' in one ? one.told : [])).at(0);
      resolve({ killed, last: asked.at(-1) ?? [], told });
    });
  });
}
