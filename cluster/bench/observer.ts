/**
 * Runs inside every node of a benchmark (`NODE_OPTIONS=--import`) and answers, on a socket beside the data, what only the
 * process itself can tell: its heap after a collection, how long its event loop was held, a profile of what it does.
 */

import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setFlagsFromString, writeHeapSnapshot } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** In the environment of a node: the directory of the sockets. */
export const OBSERVER_DIRECTORY = 'TROUPE_BENCH_OBSERVER';

/** `observe` reads and begins anew; `file` is where a profile or a snapshot goes. */
export interface ObserverRequest {
  readonly ask: 'observe' | 'collect' | 'startProfile' | 'stopProfile' | 'heapSnapshot';
  readonly file?: string;
}

/** Since the last `observe`. Milliseconds, bytes. */
export interface Observation {
  readonly delayP50: number;
  readonly delayP99: number;
  readonly delayMax: number;
  readonly heapUsed: number;
  readonly external: number;
}

const RESOLUTION_MS = 10;

export function socketOf(directory: string, node: string): string {
  return join(directory, `${node}.sock`);
}

function listen(directory: string, node: string): void {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delay.enable();
  const session = new Session();
  session.connect();
  const observation = (): Observation => {
    // What is recorded is the time between two looks.
    const milliseconds = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS);
    const { heapUsed, external } = process.memoryUsage();
    return {
      delayP50: milliseconds(delay.percentile(50)),
      delayP99: milliseconds(delay.percentile(99)),
      delayMax: milliseconds(delay.max),
      heapUsed,
      external,
    };
  };
  const answers: Readonly<Record<ObserverRequest['ask'], (file: string, done: () => void) => void>> = {
    observe: (_file, done) => {
      done();
      delay.reset();
    },
    collect: (_file, done) => {
      setFlagsFromString('--expose-gc');
      const collect = runInNewContext('gc') as () => void;
      collect();
      collect();
      done();
    },
    startProfile: (_file, done) => {
      session.post('Profiler.enable');
      session.post('Profiler.start', done);
    },
    stopProfile: (file, done) => {
      session.post('Profiler.stop', (_error, { profile }) => {
        writeFileSync(file, JSON.stringify(profile));
        done();
      });
    },
    heapSnapshot: (file, done) => {
      writeHeapSnapshot(file);
      done();
    },
  };
  createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', (data) => {
      const { ask, file = '' } = JSON.parse(String(data)) as ObserverRequest;
      answers[ask](file, () => socket.end(JSON.stringify(observation())));
    });
  })
    .on('error', () => {})
    // The process that was killed under this name may have left its socket.
    .listen({ path: `${socketOf(directory, node)}.${process.pid}` })
    .unref();
}

const directory = process.env[OBSERVER_DIRECTORY];
const at = process.argv.indexOf('--name');
const node = at < 0 ? undefined : process.argv[at + 1];
if (directory !== undefined && node !== undefined) listen(directory, node);
