/** Running other people's servers so that they can never outlive this process. */

import { spawn } from 'node:child_process';

/**
 * A shell that runs the program and kills it when the pipe on its standard input closes, which the system does when
 * this process ends in any way, SIGKILL included. It prints the program's pid first.
 */
const LEASH = `
exec 3<&0
"$@" 3<&- </dev/null & program=$!
echo "$program"
( read -r _; kill -KILL "$program" ) <&3 >/dev/null 2>&1 & leash=$!
wait "$program"; code=$?
kill "$leash" 2>/dev/null
exit "$code"
`;

/** A program under way. */
export interface LeashedProcess {
  readonly pid: number;
  /** Resolves when it has ended, for whatever reason, with how: `exit code 1` or `signal 9`. */
  readonly ended: Promise<string>;
  readonly running: boolean;
  /** Ends it and waits; SIGKILL follows after 5 s when the signal does not help. Idempotent. */
  stop(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>;
}

/**
 * Starts a program in a process group of its own: Ctrl-C in the terminal does not reach it.
 * @param onLine is given every line that it prints
 * @param env variables for it, where this process has none of the name
 * @throws Error when it cannot be started
 */
export async function startLeashed(
  program: string,
  args: readonly string[],
  onLine: (line: string) => void = () => {},
  env: NodeJS.ProcessEnv = {},
): Promise<LeashedProcess> {
  const posix = process.platform !== 'win32';
  const [file, argv] = posix ? ['/bin/sh', ['-c', LEASH, 'leash', program, ...args]] : [program, [...args]];
  const child = spawn(file, argv, {
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: posix,
    windowsHide: true,
    env: { ...env, ...process.env },
  });
  let running = true;
  const ended = new Promise<string>((resolve) => {
    const end = (how: string): void => {
      running = false;
      child.stdin.destroy();
      resolve(how);
    };
    child.once('error', (error) => end(error.message));
    child.once('exit', (code, signal) => {
      end(signal ?? (code !== null && code > 128 ? `signal ${code - 128}` : `exit code ${code}`));
    });
  });
  child.stdin.on('error', () => {});
  forEachLine(child.stderr, onLine);
  const pid = await new Promise<number | undefined>((resolve) => {
    let announced = !posix;
    if (announced) resolve(child.pid);
    forEachLine(child.stdout, (line) => {
      if (announced) return onLine(line);
      announced = true;
      resolve(Number(line));
    });
    void ended.then(() => resolve(undefined));
  });
  if (pid === undefined) throw new Error(`${program} did not start: ${await ended}`);
  const send = (signal: NodeJS.Signals): void => {
    if (!running) return;
    try {
      process.kill(pid, signal);
    } catch {
      // It has ended, and the news is on its way.
    }
  };
  return {
    pid,
    ended,
    get running() {
      return running;
    },
    async stop(signal = 'SIGTERM') {
      send(signal);
      const insist = setTimeout(send, 5000, 'SIGKILL');
      await ended;
      clearTimeout(insist);
    },
  };
}

/** Calls `onLine` for every line of a stream of text. */
export function forEachLine(stream: NodeJS.ReadableStream, onLine: (line: string) => void): void {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  });
  stream.on('end', () => {
    if (rest !== '') onLine(rest);
  });
}
