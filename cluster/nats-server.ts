/**
 * The nats-server program: finding it, telling what listens on a port, starting one that cannot outlive this process.
 */

import { accessSync, constants } from 'node:fs';
import { createServer, connect as dial } from 'node:net';
import { delimiter, join } from 'node:path';
import { TroupeError } from './errors.js';
import { type LeashedProcess, startLeashed } from './leash.js';

/** Where packages put the program when it is not on PATH (Debian hides /usr/sbin from ordinary users). */
const USUAL_DIRECTORIES = ['/usr/sbin', '/usr/local/sbin', '/usr/local/bin', '/opt/homebrew/bin'];

/** Full path of a program on PATH or in the usual directories; `undefined` when it is not installed. */
export function findProgram(name: string): string | undefined {
  const file = process.platform === 'win32' ? `${name}.exe` : name;
  for (const directory of [...(process.env.PATH ?? '').split(delimiter), ...USUAL_DIRECTORIES]) {
    if (directory === '') continue;
    const path = join(directory, file);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not here: the next directory.
    }
  }
  return undefined;
}

/** What a NATS server tells in its greeting. */
export interface NatsGreeting {
  readonly version: string;
  readonly maxPayload: number;
  readonly authRequired: boolean;
}

/** Who listens: nobody, a NATS server, or some other program. */
export type PortProbe =
  | { readonly kind: 'nobody' }
  | { readonly kind: 'foreign' }
  | { readonly kind: 'nats'; readonly greeting: NatsGreeting };

/** Reads the first line that a listener sends: a NATS server greets with `INFO {…}` before anything else. */
export function probePort(host: string, port: number, timeoutMs = 1000): Promise<PortProbe> {
  return new Promise((resolve) => {
    const socket = dial({ host, port });
    let text = '';
    let connected = false;
    const finish = (probe: PortProbe): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(probe);
    };
    const timer = setTimeout(() => finish({ kind: connected ? 'foreign' : 'nobody' }), timeoutMs);
    socket.once('connect', () => {
      connected = true;
    });
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1');
      const end = text.indexOf('\n');
      if (end < 0 && text.length < 65_536) return;
      const greeting = end < 0 ? undefined : parseGreeting(text.slice(0, end));
      finish(greeting ? { kind: 'nats', greeting } : { kind: 'foreign' });
    });
    socket.once('error', () => finish({ kind: connected ? 'foreign' : 'nobody' }));
    socket.once('close', () => finish({ kind: connected ? 'foreign' : 'nobody' }));
  });
}

function parseGreeting(line: string): NatsGreeting | undefined {
  if (!line.startsWith('INFO ')) return undefined;
  try {
    const info: unknown = JSON.parse(line.slice(5));
    if (typeof info !== 'object' || info === null || !('max_payload' in info)) return undefined;
    const { max_payload: maxPayload } = info;
    if (typeof maxPayload !== 'number') return undefined;
    return {
      version: 'version' in info ? String(info.version) : 'unknown',
      maxPayload,
      authRequired: 'auth_required' in info && info.auth_required === true,
    };
  } catch {
    return undefined;
  }
}

/** A TCP port on `host` that nobody holds at this moment. */
export function freePort(host = '127.0.0.1'): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, host, () => {
      const address = server.address();
      server.close(() => {
        if (address === null || typeof address === 'string') reject(new Error('no port was assigned'));
        else resolve(address.port);
      });
    });
  });
}

export interface NatsServerOptions {
  /** Variables for it, where this process has none of the name. */
  readonly env?: NodeJS.ProcessEnv;
  readonly host?: string;
  /** A free one when absent. */
  readonly port?: number;
  /** More arguments of nats-server itself. */
  readonly args?: readonly string[];
  /** The program; found on PATH when absent. */
  readonly program?: string;
  /** Every line that the server prints. */
  readonly onLine?: (line: string) => void;
}

/** A running nats-server that this process started. */
export interface NatsServer {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Resolves when the server has ended, for whatever reason, with a sentence that says how. */
  readonly ended: Promise<string>;
  /** Stops it (SIGKILL when `signal` says so) and waits for its end. Idempotent. */
  stop(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>;
}

/**
 * Starts nats-server in a process group of its own (Ctrl-C in the terminal does not reach it) and waits until it
 * greets.
 * @throws TroupeError `unavailable` when the program is missing or does not come up
 */
export async function startNatsServer(options: NatsServerOptions = {}): Promise<NatsServer> {
  const program = options.program ?? findProgram('nats-server');
  if (program === undefined) {
    throw new TroupeError(
      'unavailable',
      'nats-server was not found on PATH: install it (Debian: apt-get install nats-server; macOS: brew install nats-server; Windows: winget install NATSAuthors.NATSServer), or name a running one with --nats',
    );
  }
  const host = options.host ?? '127.0.0.1';
  const port = options.port ?? (await freePort(host));
  const lines: string[] = [];
  const child = await startLeashed(
    program,
    ['--addr', host, '--port', String(port), ...(options.args ?? [])],
    (line) => {
      if (/\[(ERR|FTL)\]|nats-server:/.test(line)) lines.splice(0, lines.length, line.trim());
      options.onLine?.(line);
    },
    options.env,
  );
  const server: NatsServer = {
    url: `nats://${host}:${port}`,
    port,
    pid: child.pid,
    ended: child.ended.then((how) => `nats-server ended with ${[how, ...lines].join(': ')}`),
    stop: (signal) => child.stop(signal),
  };
  await whenGreeting(server, child, host, port);
  return server;
}

async function whenGreeting(
  server: NatsServer,
  child: LeashedProcess,
  host: string,
  port: number,
): Promise<void> {
  const deadline = Date.now() + 10_000;
  while (child.running && Date.now() < deadline) {
    const probe = await probePort(host, port, 500);
    if (child.running && probe.kind === 'nats') return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  const failure = child.running
    ? `nats-server did not answer on ${host}:${port} within 10 s: see whether the port is free`
    : await server.ended;
  await child.stop('SIGKILL');
  throw new TroupeError('unavailable', failure);
}
