/** `troupe deploy` and `troupe host`: a user's machines as actors on the NATS server. */

import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import type { Command } from 'commander';
import { didYouMean } from '../../actors/index.js';
import { FRESH_REPLACEMENT, type HandOver } from '../deploy/handed-files.js';
import type { DeployHost } from '../deploy/host.js';
import { TroupeError } from '../errors.js';
import { parseMachineFile } from '../machine-file.js';
import type { SpanExport } from '../tracing/exporter.js';
import { natsOptions } from './connection.js';
import { makeDirectory } from './directory.js';
import { nodeLogger } from './log-lines.js';
import { HTTP_OPTION, type NodePages, pagesAddress, servePages } from './node-pages.js';
import { serve, stopRequest } from './serving.js';
import {
  type ConnectionSettings,
  checkToken,
  connectionSettings,
  inspectionAllowed,
  parseCount,
  parseDuration,
  withConnection,
  withInspection,
} from './settings.js';
import { exportNodeSpans } from './span-export.js';
import { endSoon, say } from './terminal.js';

const LEVELS = ['debug', 'info', 'warn', 'error', 'silent'];
const DEFAULT_IDLE = '2m';
const DEFAULT_INSTANCES = '10000';

interface HostFlags extends Readonly<Record<string, unknown>> {
  readonly name?: string;
  readonly data?: string;
  readonly http?: string;
  readonly logLevel: string;
}

interface DeployFlags extends HostFlags {
  readonly host?: string;
  readonly input?: string;
  readonly instances?: string;
  readonly idle?: string;
  readonly maxInstances?: string;
  readonly fresh?: boolean;
  readonly replace?: boolean;
}

export function addDeployCommands(program: Command): void {
  const deploying = withConnection(
    program
      .command('deploy')
      .summary("host a file's machine as an actor")
      .description(
        'Hosts the XState 5 machine that a JavaScript or TypeScript file exports as an actor on the NATS server, until it is stopped. Its state is kept on disk: it goes on where it was, timers included. With --host the file is handed to a running `troupe host` instead.\n\nExamples:\n  troupe deploy counter.ts --name counter\n  troupe deploy shop.ts#order --name order --instances orderId\n  troupe deploy counter.ts --name counter --host host-1',
      )
      .argument('<FILE>', 'FILE, or FILE#EXPORT where it exports several machines')
      .option('--name <name>', "the actor's name (the machine's id)")
      .option('--host <node>', 'hand the file to this host')
      .option('--instances <key>', 'one actor for each value of this member of the events')
      .option('--idle <duration>', `when an instance leaves the memory (default: ${DEFAULT_IDLE})`)
      .option('--max-instances <count>', `instances in memory (default: ${DEFAULT_INSTANCES})`)
      .option('--input <json>', "the machine's input")
      .option('--fresh', 'forget the state that this host has of the name')
      .option('--replace', 'with --host: take the place of what is deployed under the name; its state stays')
      .option('--data <dir>', 'where the state is kept')
      .option(...HTTP_OPTION)
      .option('--log-level <level>', LEVELS.join(', '), process.env.TROUPE_LOG_LEVEL ?? 'warn'),
  );
  withInspection(deploying).action(deploy);
  const hosting = withConnection(
    program
      .command('host')
      .summary('run a host that machines are handed to')
      .description(
        'Runs a host: `troupe deploy --host` hands it files, and it serves their machines as actors, after a restart too. Whoever may publish on troupe.<cluster>.api.host.> runs code here.\n\nExamples:\n  troupe host --name host-1 --data /var/lib/troupe/host-1',
      )
      .requiredOption('--name <node>', "the host's name")
      .option('--data <dir>', 'where state and files are kept')
      .option(...HTTP_OPTION)
      .option('--log-level <level>', LEVELS.join(', '), process.env.TROUPE_LOG_LEVEL ?? 'info'),
  );
  withInspection(hosting).action(host);
}

async function deploy(word: string, flags: DeployFlags): Promise<void> {
  const settings = connectionSettings(flags);
  checkLevel(flags.logLevel);
  if (flags.name !== undefined) checkToken('actor', flags.name);
  if (flags.host !== undefined) {
    checkToken('host', flags.host);
    if (flags.data !== undefined)
      throw new TroupeError('usage', '--data is for the host: leave it out with --host');
  }
  if (flags.host === undefined && flags.replace === true) {
    throw new TroupeError('usage', '--replace is for --host: stop the other troupe deploy, its state stays');
  }
  const input = flags.input === undefined ? undefined : readJson('--input', flags.input);
  const instances = readInstances(flags);
  const { loadDeployable } = await import('../deploy/deployable.js');
  const machine = await loadDeployable(word, input, didYouMean);
  const name = flags.name ?? machine.id;
  if (flags.name === undefined && !/^[A-Za-z0-9_-]{1,64}$/.test(name)) {
    throw new TroupeError('usage', `the machine's id "${name}" cannot name an actor: give it a --name`);
  }
  if (flags.fresh === true && flags.replace === true) throw new TroupeError('usage', FRESH_REPLACEMENT);
  const fresh = flags.fresh === true;
  if (flags.host !== undefined) {
    const replace = flags.replace === true;
    await handOver(flags.host, word, { name, input, instances, fresh, replace }, settings);
    return;
  }
  const { file } = parseMachineFile(word);
  await serveHost(settings, undefined, flags, `actors/${name}`, false, async (running) => {
    const what = { name, machine, file: basename(file), input, instances, fresh };
    const { ended } = await running.deploy(what);
    say(
      `${name} is served by ${running.node}; Ctrl-C stops it, and it goes on from where it was when it is deployed again.`,
    );
    say(`  troupe ask ${name} '${exampleEvent(machine.events, instances?.member)}'`);
    return ended;
  });
}

async function host(flags: HostFlags): Promise<void> {
  const settings = connectionSettings(flags);
  checkLevel(flags.logLevel);
  const name = String(flags.name);
  checkToken('host', name);
  await serveHost(settings, name, flags, `hosts/${name}`, true, async (running) => {
    say(`${running.node} serves the cluster "${settings.cluster}"; hand it machines with`);
    say(`  troupe deploy FILE --name NAME --host ${running.node}`);
    return new Promise(() => {});
  });
}

/** Runs a host in this process until a signal, its failure, or the end of what it serves. */
async function serveHost(
  settings: ConnectionSettings,
  name: string | undefined,
  flags: HostFlags,
  place: string,
  takesFiles: boolean,
  begin: (running: DeployHost) => Promise<TroupeError | undefined>,
): Promise<void> {
  const { data, http, logLevel } = flags;
  const { cluster, schedulers } = settings;
  const inspection = inspectionAllowed(flags);
  const address = pagesAddress(http);
  const dataDir = data ?? usualDirectory(cluster, place);
  makeDirectory('--data', dataDir);
  const logger = nodeLogger(name ?? place, logLevel);
  const nats = natsOptions(settings);
  const stopWanted = stopRequest();
  keepGoing(logger);
  const node = name ?? basename(place);
  let spans: SpanExport | undefined;
  let served: DeployHost | undefined;
  let pages: NodePages | undefined;
  try {
    spans = await exportNodeSpans('troupe-host', node, cluster, logger);
    // Loaded here, so that usage errors do not wait for RocksDB.
    const { DeployHost } = await import('../deploy/host.js');
    const unready = () => (served === undefined ? 'the host is starting' : served.unready);
    pages = await servePages(address, { cluster, node, role: 'host' }, unready, logger);
    const shared = {
      cluster,
      name,
      dataDir,
      nats,
      schedulers,
      logger,
      takesFiles,
      inspection,
      ...(pages === undefined ? {} : { disk: pages.disk }),
      tracerProvider: spans?.provider,
    };
    const running = await DeployHost.start(shared);
    served = running;
    try {
      pages?.attach(running);
      logger.info({ cluster, nats: settings.nats, data: dataDir }, 'the host serves');
      const ended = begin(running);
      // What cannot be deployed ends the command; what was undeployed too.
      const end = await Promise.race([
        ended,
        running.failed.then(() => 'failed' as const),
        stopWanted.then(() => 'stop' as const),
      ]);
      if (end === 'failed' || end === 'stop') {
        await serve(running, running.node, stopWanted);
        return;
      }
      await running.close();
      if (end !== undefined) throw end;
    } catch (error) {
      await running.close().catch(() => {});
      throw error;
    }
  } finally {
    await spans?.close();
    pages?.serveToTheEnd();
    endSoon();
  }
}

/** Hands a file over, after it was looked at here. */
async function handOver(
  node: string,
  word: string,
  {
    name,
    input,
    instances,
    fresh,
    replace,
  }: Pick<HandOver, 'name' | 'input' | 'instances' | 'fresh' | 'replace'>,
  settings: ConnectionSettings,
): Promise<void> {
  const { file, exportName } = parseMachineFile(word);
  const source = readFileSync(file, 'utf8');
  const [, other] = /(?:from|import|require\()\s*\(?\s*['"](\.{1,2}\/[^'"]+)['"]/.exec(source) ?? [];
  if (other !== undefined) {
    throw new TroupeError(
      'usage',
      `${file} imports ${other}, and a host takes one file: bundle them first, for example with npx esbuild ${file} --bundle --packages=external --format=esm --outfile=${name}.mjs`,
    );
  }
  const { ActorClient } = await import('../deploy/client.js');
  const { cluster, timeoutMs } = settings;
  const client = await ActorClient.connect({ nats: natsOptions(settings), cluster, timeoutMs });
  try {
    await client.deploy(node, {
      name,
      file: basename(file),
      source,
      ...(exportName === undefined ? {} : { exportName }),
      input,
      instances,
      fresh,
      replace: replace === true,
    });
    say(`${name} is served by ${node}.`);
  } finally {
    await client.close();
    endSoon();
  }
}

function readInstances({ instances, idle, maxInstances }: DeployFlags): HandOver['instances'] {
  if (instances === undefined) {
    if (idle !== undefined || maxInstances !== undefined) {
      throw new TroupeError('usage', '--idle and --max-instances are for --instances: give that too');
    }
    return undefined;
  }
  if (!/^[A-Za-z_$][\w$]*$/.test(instances) || instances === 'type') {
    throw new TroupeError(
      'usage',
      `--instances: "${instances}" is not the name of an event's member, such as orderId`,
    );
  }
  return {
    member: instances,
    idleMs: parseDuration('--idle', idle ?? DEFAULT_IDLE),
    most: parseCount('--max-instances', maxInstances ?? DEFAULT_INSTANCES),
  };
}

function readJson(option: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new TroupeError('usage', `${option}: ${text.slice(0, 60)} is not JSON (${reason})`, { cause });
  }
}

function checkLevel(level: string): void {
  if (LEVELS.includes(level)) return;
  throw new TroupeError('usage', `--log-level: "${level}" is not one of ${LEVELS.join(', ')}`);
}

function exampleEvent(types: readonly string[], member: string | undefined): string {
  const type = types.find((one) => !one.startsWith('xstate.') && !one.includes('*')) ?? 'hello';
  return JSON.stringify({ type, ...(member === undefined ? {} : { [member]: '1' }) });
}

/**
 * Removes the state that a `troupe deploy` of the name has left in its usual directory.
 * @returns whether there was one; `undefined`: there is no such directory
 * @throws TroupeError `conflict` when the directory is in use
 */
export async function purgeLeft(cluster: string, name: string): Promise<boolean | undefined> {
  const dataDir = usualDirectory(cluster, `actors/${name}`);
  if (!existsSync(dataDir)) return undefined;
  const { openEngine } = await import('../node-options.js');
  const { hasState, purge } = await import('../deploy/deployment.js');
  const engine = await openEngine({ cluster, name, dataDir });
  try {
    const found = await hasState(engine, name);
    if (found) await purge(engine, name);
    return found;
  } finally {
    await engine.close();
  }
}

function usualDirectory(cluster: string, place: string): string {
  return join(stateHome(), 'troupe', cluster, place);
}

function stateHome(): string {
  return process.env.XDG_STATE_HOME ?? join(homedir(), '.local', 'state');
}

/** What a user's machine throws outside of its actions, in a callback of its own, is logged; its host goes on. */
function keepGoing(logger: { error(fields: object, message: string): void }): void {
  const log = (error: unknown): void =>
    logger.error({ err: error }, 'a machine threw outside of its actions');
  process.on('uncaughtException', log);
  process.on('unhandledRejection', log);
}
