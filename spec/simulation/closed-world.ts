/**
 * What a simulation runs in: a process without a clock, timers or chance of its own. Whatever asks for them all the same
 * would make a seed mean another run each time, so it is told.
 */

/** The one id that simulated processes have; on the wire it must not differ from run to run. */
const PID = 4242;
/** Milliseconds since 1970 at the beginning of each simulation. */
const EPOCH = Date.UTC(2024, 0, 1);

export interface ClosedWorldOptions {
  /** Virtual milliseconds. */
  readonly now: () => number;
  /** Something asked for the real world, or let a promise fail with nobody to hear it. */
  readonly broken: (sentence: string) => void;
}

/**
 * Runs `body` with the process's doors closed: `Math.random` and real timers report `broken`, `Date.now` is virtual,
 * `process.pid` is fixed, and a rejection that nobody handles, which would end a real process, reports `broken`.
 */
export async function inClosedWorld<T>(options: ClosedWorldOptions, body: () => Promise<T>): Promise<T> {
  const { now, broken } = options;
  const { random } = Math;
  const { now: dateNow } = Date;
  const { setTimeout: realTimeout, setInterval: realInterval } = globalThis;
  const pid = Object.getOwnPropertyDescriptor(process, 'pid');
  const rejected = (reason: unknown): void => {
    const text = reason instanceof Error ? (reason.stack ?? reason.message) : String(reason);
    broken(`a promise failed and nobody heard it: ${text}`);
  };
  const listeners = process.listeners('unhandledRejection');
  process.removeAllListeners('unhandledRejection');
  process.on('unhandledRejection', rejected);
  Math.random = () => {
    broken(`Math.random was called ${caller()}`);
    return random();
  };
  Date.now = () => EPOCH + Math.floor(now());
  globalThis.setTimeout = opened(realTimeout, 'setTimeout', broken);
  globalThis.setInterval = opened(realInterval, 'setInterval', broken);
  Object.defineProperty(process, 'pid', { value: PID, configurable: true, enumerable: true });
  try {
    return await body();
  } finally {
    if (pid !== undefined) Object.defineProperty(process, 'pid', pid);
    globalThis.setInterval = realInterval;
    globalThis.setTimeout = realTimeout;
    Date.now = dateNow;
    Math.random = random;
    process.off('unhandledRejection', rejected);
    for (const listener of listeners) process.on('unhandledRejection', listener);
  }
}

function opened<F extends object>(real: F, name: string, broken: (sentence: string) => void): F {
  return new Proxy(real, {
    apply(target, self, args) {
      broken(`${name} was called ${caller()}`);
      return Reflect.apply(target as unknown as (...all: unknown[]) => unknown, self, args);
    },
  });
}

function caller(): string {
  const [, , , line = ''] = new Error('a look at the stack').stack?.split('\n') ?? [];
  return line.trim();
}
