import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, connect as dial } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

/** `PATH`, and where Debian keeps servers. */
export const SEARCH_PATH = [process.env.PATH ?? '', '/usr/sbin', '/usr/local/sbin'].join(delimiter);

/** Whether a nats-server program is installed; specs that need one skip with a sentence when it is not. */
export function hasNatsServer(): boolean {
  return (
    spawnSync('nats-server', ['--version'], { env: { ...process.env, PATH: SEARCH_PATH } }).error ===
    undefined
  );
}

/** No server outlives the process that runs the specs. */
const running = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export interface TestNatsServerOptions {
  /** A free port when absent. */
  readonly port?: number;
  /** Lines of a nats-server configuration file, for example `max_payload: 65536`. */
  readonly config?: string;
  /** More command line arguments. */
  readonly args?: readonly string[];
}

/**
 * A real nats-server of a spec, on a port and in a temporary directory of its own.
 *
 * It is ready when it greets a connection; nothing here waits for a fixed time.
 */
export class TestNatsServer {
  readonly url: string;
  readonly #options: TestNatsServerOptions;
  readonly #directory: string;
  #child: ChildProcess | undefined;

  private constructor(
    options: TestNatsServerOptions,
    directory: string,
    readonly port: number,
  ) {
    this.#options = options;
    this.#directory = directory;
    this.url = `nats://127.0.0.1:${port}`;
  }

  static async start(options: TestNatsServerOptions = {}): Promise<TestNatsServer> {
    const directory = await mkdtemp(join(tmpdir(), 'troupe-nats-'));
    const server = new TestNatsServer(options, directory, options.port ?? (await freePort()));
    await server.#launch();
    return server;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Starts it again on the same port, after `kill` or `stop`. */
  async restart(): Promise<void> {
    await this.#end('SIGTERM');
    await this.#launch();
  }

  /** SIGKILL: what a crash looks like. The port stays ours for `restart`. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** A stopped (SIGSTOP) server keeps its connections and answers nothing. */
  pause(): void {
    this.#child?.kill('SIGSTOP');
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  /** Ends it and removes its directory. Idempotent. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM');
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #launch(): Promise<void> {
    const args = ['-a', '127.0.0.1', '-p', String(this.port), '-sd', this.#directory];
    if (this.#options.config !== undefined) {
      const file = join(this.#directory, 'nats.conf');
      await writeFile(file, this.#options.config);
      args.push('-c', file);
    }
    args.push(...(this.#options.args ?? []));
    const child = spawn('nats-server', args, { stdio: 'ignore', env: { ...process.env, PATH: SEARCH_PATH } });
    this.#child = child;
    child.once('exit', () => {
      running.delete(child);
      if (this.#child === child) this.#child = undefined;
    });
    running.add(child);
    while (!(await greets(this.port))) {
      if (child.exitCode !== null)
        throw new Error(`nats-server ended with code ${child.exitCode}: ${args.join(' ')}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGCONT');
    child.kill(signal);
    await exited;
  }
}

/** A TCP port of this machine that nobody holds at this moment. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port was assigned');
  return address.port;
}

function greets(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = dial(port, '127.0.0.1');
    const finish = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('data', (chunk) => finish(chunk.toString('latin1').startsWith('INFO ')));
    socket.once('error', () => finish(false));
    socket.once('close', () => finish(false));
  });
}
