/** `troupe up`: a cluster on this machine, for as long as this process runs. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join, relative, resolve } from 'node:path';
import type { Command } from 'commander';
import { TroupeError } from '../errors.js';
import { ClusterFile } from './cluster-file.js';
import { makeDirectory } from './directory.js';
import { startInspector } from './inspect-command.js';
import { LocalCluster, type LocalClusterEvents, schedulerNames } from './local-cluster.js';
import { readLogLine } from './log-lines.js';
import { type NodeDamagedError, StoreGoneError } from './node-process.js';
import { type ScaleService, serveScaling } from './scale-channel.js';
import {
  connectionSettings,
  inspectionAllowed,
  parseCount,
  withConnection,
  withInspection,
} from './settings.js';
import { tellExportFlaw } from './span-export.js';
import { type SplitFlags, splitArguments, withSplitOptions } from './split-options.js';
import {
  confirmed,
  elapsed,
  endSoon,
  goOnWithoutReader,
  LiveLine,
  paletteFor,
  print,
  say,
  table,
} from './terminal.js';

/** A launcher may pass one Ctrl-C on a second time (npm does): signals closer together than this are one. */
const SAME_SIGNAL_MS = 250;
const PARENT_CHECK_MS = 1000;
const MOST_STORES = 32;
const USUAL_UI_PORT = 7070;

export function addUpCommand(program: Command): void {
  const command = withConnection(
    program
      .command('up')
      .summary('start a whole cluster on this machine')
      .description(
        'Starts nats-server (unless one runs), a scheduler or three, and some stores on this machine, until Ctrl-C.\n\nExamples:\n  troupe up\n  troupe up --schedulers 3 --stores 5 --data ./demo-data\n  troupe up --nats nats://127.0.0.1:4222 --cluster staging --verbose',
      )
      .option('--stores <count>', 'how many stores (default: 3)')
      .option('--schedulers <count>', 'how many schedulers: with 3 any one may die (default: 1)')
      .option('--rejoin <scheduler>', 'its data directory is lost: an empty one takes its place')
      .option('--data <dir>', 'keep the data here (default: a temporary directory, removed at the end)')
      .option('--standalone', 'one store that serves raw operations without replication; needs --stores 1')
      .option('--halt-scheduling', 'place no regions until `scheduler config halt-scheduling false` is said')
      .option(
        '--ui-port <port>',
        'port of the inspector page (default: 7070, or a free one when that is taken)',
      )
      .option('--no-ui', 'serve no inspector page')
      .option('--verbose', 'show what the nodes log'),
    { schedulers: false },
  );
  withSplitOptions(withInspection(command)).action(up);
}

interface UpOptions extends SplitFlags {
  readonly stores?: string;
  readonly schedulers?: string;
  readonly rejoin?: string;
  readonly haltScheduling?: boolean;
  readonly data?: string;
  readonly standalone?: boolean;
  readonly uiPort?: string;
  readonly ui: boolean;
  readonly verbose?: boolean;
}

async function up(options: UpOptions & Readonly<Record<string, unknown>>): Promise<void> {
  goOnWithoutReader();
  const from = Date.now();
  // It names its schedulers itself: here the option says how many.
  const settings = connectionSettings({ ...options, schedulers: undefined });
  const asked = {
    stores: options.stores === undefined ? undefined : parseCount('--stores', options.stores, 1, MOST_STORES),
    schedulers:
      options.schedulers === undefined ? undefined : parseCount('--schedulers', options.schedulers, 1, 7),
  };
  const uiPort =
    options.uiPort === undefined ? undefined : parseCount('--ui-port', options.uiPort, 0, 65_535);
  const standalone = options.standalone === true;
  if (standalone && asked.stores !== 1)
    throw new TroupeError('usage', '--standalone is one store without replication: add --stores 1');

  const storeArguments = splitArguments(options);
  const inspection = inspectionAllowed(options);
  const temporary = options.data === undefined;
  const directory =
    options.data === undefined ? mkdtempSync(join(tmpdir(), 'troupe-')) : resolve(options.data);
  const removeTemporary = (): void => {
    if (temporary) rmSync(directory, { recursive: true, force: true });
  };
  const display = new Display(options.verbose === true);
  const interruption = new Interruption();
  let cluster: LocalCluster | undefined;
  let scaling: { close(): Promise<void> } | undefined;
  let inspector: { readonly url: string; close(): Promise<void> } | undefined;
  interruption.onSecond(() => {
    cluster?.kill();
    removeTemporary();
  });
  try {
    if (!temporary) makeDirectory('--data', directory);
    const file = ClusterFile.claim(directory, settings.cluster, asked);
    const { stores, schedulers } = file;
    display.storeGone = (name) => file.removeStore(name);
    const { rejoin } = options;
    if (rejoin !== undefined && !schedulerNames(schedulers).includes(rejoin)) {
      const names = schedulerNames(schedulers).join(', ');
      throw new TroupeError('usage', `--rejoin: "${rejoin}" is none of the schedulers ${names}`);
    }
    await tellExportFlaw();
    display.begin();
    cluster = await LocalCluster.start({
      settings,
      stores,
      schedulers,
      ...(rejoin === undefined ? {} : { rejoin }),
      directory,
      standalone,
      haltScheduling: options.haltScheduling ?? false,
      nodeArguments: inspection ? [] : ['--no-inspection'],
      storeArguments,
      events: display,
      signal: interruption.signal,
    });
    scaling = await serveScaling(cluster.settings, scaleService(cluster, file, standalone));
    if (options.ui && inspection) inspector = await startPage(cluster, uiPort);
    const page = inspector?.url;
    display.ready(cluster, { page, temporary, directory, tookMs: Date.now() - from, standalone });
    await interruption.first;
  } catch (error) {
    display.end();
    if (!interruption.signal.aborted) throw error;
  } finally {
    display.end();
    if (interruption.signal.aborted) say(`\nStopping … (Ctrl-C again stops at once)`);
    await inspector?.close();
    await scaling?.close();
    await cluster?.stop();
    removeTemporary();
    endSoon();
  }
  say(temporary ? 'Stopped. Its data was temporary and is gone.' : `Stopped. Its data is in ${directory}.`);
  interruption.release();
}

/** The inspector; without a port that was asked for, the usual one is left to whoever has it. */
async function startPage(
  cluster: LocalCluster,
  port: number | undefined,
): Promise<{ readonly url: string; close(): Promise<void> }> {
  const killStore = (node: string) => cluster.crashStore(node);
  const serve = (at: number) => startInspector(cluster.settings, { port: at, host: '127.0.0.1', killStore });
  try {
    return await serve(port ?? USUAL_UI_PORT);
  } catch (error) {
    const taken = error instanceof TroupeError && error.code === 'conflict';
    if (port !== undefined || !taken) throw error;
    return serve(0);
  }
}

/** What another terminal may ask: `troupe scale-out`, `troupe scale-in`. */
function scaleService(cluster: LocalCluster, file: ClusterFile, standalone: boolean): ScaleService {
  return {
    stores: () => cluster.stores(),
    async addStore() {
      if (standalone)
        throw new TroupeError('conflict', 'this cluster runs with --standalone: it is one store');
      if (file.stores.length >= MOST_STORES)
        throw new TroupeError('conflict', `there are ${MOST_STORES} stores already, which is the most`);
      const name = file.addStore();
      try {
        return await cluster.addStore(name);
      } catch (error) {
        // It may have registered before it failed, and have been taken offline since: then its name is used up.
        if (error instanceof StoreGoneError) file.removeStore(name);
        else file.takeBack(name);
        throw error;
      }
    },
  };
}

/** Signals: the first asks for a clean stop, a second one ends everything at once. */
class Interruption {
  readonly #controller = new AbortController();
  readonly first: Promise<void>;
  #second: () => void = () => {};
  #firstAt = 0;
  readonly #parentCheck: NodeJS.Timeout | undefined;
  readonly #heard = (signal: NodeJS.Signals): void => this.#hear(signal);

  constructor() {
    this.first = new Promise((resolve) => {
      this.signal.addEventListener('abort', () => resolve(), { once: true });
    });
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, this.#heard);
    // npm does not pass every signal on: when it is gone, nobody can stop us any more.
    if (process.env.npm_lifecycle_event !== undefined) {
      const parent = process.ppid;
      this.#parentCheck = setInterval(() => {
        if (process.ppid !== parent) this.#hear('SIGHUP');
      }, PARENT_CHECK_MS);
      this.#parentCheck.unref();
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  onSecond(action: () => void): void {
    this.#second = action;
  }

  release(): void {
    clearInterval(this.#parentCheck);
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, this.#heard);
  }

  #hear(signal: NodeJS.Signals): void {
    const now = Date.now();
    if (!this.signal.aborted) {
      this.#firstAt = now;
      this.#controller.abort();
      clearInterval(this.#parentCheck);
    } else if (now - this.#firstAt > SAME_SIGNAL_MS) {
      this.#second();
      process.exit(signal === 'SIGINT' ? 130 : 143);
    }
  }
}

/** Progress, the table, and what happens afterwards. */
class Display implements LocalClusterEvents {
  readonly #palette = paletteFor(process.stderr);
  readonly #verbose: boolean;
  readonly #parts: string[] = [];
  /** Told of a store that is gone for good. */
  storeGone: (name: string) => void = () => {};
  #live: LiveLine | undefined;
  #doing = 'starting';

  constructor(verbose: boolean) {
    this.#verbose = verbose;
  }

  begin(): void {
    this.#live = new LiveLine(() => this.#doing);
  }

  end(): void {
    this.#live?.done();
    this.#live = undefined;
  }

  starting(what: string): void {
    this.#doing = `starting ${what}`;
  }

  up(part: string, detail: string, milliseconds: number): void {
    this.#tell(
      `${this.#palette.green('✔')} ${part} ${this.#palette.dim(`${detail}, ${elapsed(milliseconds)}`)}`,
    );
  }

  died(part: string, how: string, pauseMs: number): void {
    this.#tell(this.#palette.yellow(`! ${part} died (${how}): starting it again in ${elapsed(pauseMs)}`));
  }

  returned(part: string, pid: number | undefined): void {
    this.#tell(
      `${this.#palette.green('✔')} ${part} serves again ${this.#palette.dim(`pid ${pid ?? 'unknown'}`)}`,
    );
  }

  async damaged(part: string, damage: NodeDamagedError, mayRepair: boolean): Promise<boolean> {
    this.#tell(this.#palette.red(`✘ ${damage.message}`));
    if (!mayRepair || process.stdin.isTTY !== true) {
      this.#tell(`  The others go on without ${part}. Repair it, then start it (or this cluster) again:`);
      this.#tell(`  ${this.#palette.cyan(damage.repair)}`);
      return false;
    }
    this.#live?.done();
    const repair = await confirmed(`Repair ${part} now? Its directory is moved aside, nothing is deleted.`);
    this.begin();
    return repair;
  }

  repaired(part: string, aside: string | undefined): void {
    const kept = aside === undefined ? '' : `, the damaged data is in ${aside}`;
    this.#tell(`${this.#palette.green('✔')} ${part} repaired${kept}`);
  }

  gone(part: string): void {
    this.storeGone(part);
    this.#tell(`${this.#palette.green('✔')} ${part} was taken offline and is gone`);
  }

  line(part: string, line: string): void {
    if (!this.#verbose) return;
    if (!this.#parts.includes(part)) this.#parts.push(part);
    const prefix = this.#palette.distinct(this.#parts.indexOf(part))(`${part.padEnd(11)} │`);
    this.#tell(`${prefix} ${readLogLine(line, this.#palette).text}`);
  }

  ready(
    cluster: LocalCluster,
    about: {
      page: string | undefined;
      temporary: boolean;
      directory: string;
      tookMs: number;
      standalone: boolean;
    },
  ): void {
    this.end();
    const palette = paletteFor(process.stdout);
    const { cluster: name, schedulers } = cluster.settings;
    const command = invocation();
    const options = [
      ...(cluster.natsUrl === 'nats://127.0.0.1:4222' ? [] : ['--nats', cluster.natsUrl]),
      ...(name === 'demo' ? [] : ['--cluster', name]),
      ...(schedulers.length === 1 ? [] : ['--schedulers', schedulers.join(',')]),
    ];
    const line = (...words: string[]): string =>
      `  ${palette.cyan([command, ...words, ...options].join(' '))}`;
    const rows = cluster.nodes().map((node) => [node.name, String(node.pid ?? '-'), node.place]);
    const mode = about.standalone ? ', without replication' : '';
    print('');
    print(
      palette.bold(
        `Troupe serves cluster "${name}" on ${cluster.natsUrl}${mode} (ready in ${elapsed(about.tookMs)})`,
      ),
    );
    print('');
    print(table([['node', 'pid', 'address or data'], ...rows], palette));
    print('');
    if (about.page !== undefined) print(`See it live: ${palette.cyan(about.page)}`);
    print('Try it from a second terminal:');
    print(line('kv', 'put', 'hello', 'world'));
    print(line('kv', 'get', 'hello'));
    print(line('status'));
    print('');
    print(
      about.temporary
        ? palette.yellow('The data is temporary and goes with the cluster: keep it with --data DIR.')
        : `The data stays in ${about.directory}.`,
    );
    print('Ctrl-C stops the cluster.');
  }

  #tell(line: string): void {
    if (this.#live) this.#live.above(line);
    else say(line);
  }
}

/** How this program is called from a second terminal in the same directory, for lines that people paste. */
function invocation(): string {
  const script = process.argv[1] ?? '';
  if (basename(script) !== 'main.js') return 'troupe';
  const checkout = resolve(script, '../../../..');
  return checkout === process.cwd() ? 'npm run -s troupe --' : `node ${relative(process.cwd(), script)}`;
}
