/**
 * Where the cluster is and how to reach it: flags, else environment, else the configuration file, else defaults.
 *
 * The environment names of the credentials are those of the `nats` tool.
 */

import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { TroupeError } from '../errors.js';

/** How to prove who we are to the NATS server. File paths, save for user, password and token. */
export interface Credentials {
  readonly creds?: string;
  readonly nkey?: string;
  readonly user?: string;
  readonly password?: string;
  readonly token?: string;
  readonly tlscert?: string;
  readonly tlskey?: string;
  readonly tlsca?: string;
  /** First token of the subjects that answers come back on. */
  readonly inboxPrefix?: string;
}

/** What every command that talks to a cluster needs. */
export interface ConnectionSettings {
  /** NATS servers, comma separated. */
  readonly nats: string;
  /** Somebody said where NATS is: nothing else may be tried. */
  readonly natsGiven: boolean;
  readonly cluster: string;
  /** Names of the scheduler nodes. */
  readonly schedulers: readonly string[];
  readonly timeoutMs: number;
  readonly credentials: Credentials;
}

interface Setting {
  readonly flag: string;
  readonly about: string;
  /** Environment variables, first found wins. */
  readonly env: readonly string[];
  readonly fallback?: string;
}

const SETTINGS = {
  nats: {
    flag: '-s, --nats <url>',
    about: 'NATS server, or several with commas',
    env: ['TROUPE_NATS', 'NATS_URL'],
    fallback: 'nats://127.0.0.1:4222',
  },
  cluster: {
    flag: '--cluster <name>',
    about: 'name of the cluster',
    env: ['TROUPE_CLUSTER'],
    fallback: 'demo',
  },
  schedulers: {
    flag: '--schedulers <names>',
    about: 'scheduler nodes, with commas',
    env: ['TROUPE_SCHEDULERS'],
    fallback: 'scheduler-1',
  },
  timeout: {
    flag: '--timeout <duration>',
    about: 'longest wait for an answer, such as 500ms, 5s or 1m',
    env: ['TROUPE_TIMEOUT'],
    fallback: '10s',
  },
  creds: { flag: '--creds <file>', about: 'NATS credentials file', env: ['TROUPE_CREDS', 'NATS_CREDS'] },
  nkey: { flag: '--nkey <file>', about: 'NATS nkey seed file', env: ['TROUPE_NKEY', 'NATS_NKEY'] },
  user: {
    flag: '--user <name>',
    about: 'NATS user, or token when no password is given',
    env: ['TROUPE_USER', 'NATS_USER'],
  },
  password: {
    flag: '--password <text>',
    about: 'NATS password (better in NATS_PASSWORD)',
    env: ['TROUPE_PASSWORD', 'NATS_PASSWORD'],
  },
  tlscert: {
    flag: '--tlscert <file>',
    about: 'TLS client certificate',
    env: ['TROUPE_TLSCERT', 'NATS_CERT'],
  },
  tlskey: { flag: '--tlskey <file>', about: 'TLS client key', env: ['TROUPE_TLSKEY', 'NATS_KEY'] },
  tlsca: { flag: '--tlsca <file>', about: 'TLS certificate authority', env: ['TROUPE_TLSCA', 'NATS_CA'] },
  inboxPrefix: {
    flag: '--inbox-prefix <prefix>',
    about: 'begin of the inboxes, where permissions ask for another than _INBOX',
    env: ['TROUPE_INBOX_PREFIX', 'NATS_INBOX_PREFIX'],
  },
} as const satisfies Record<string, Setting>;
type SettingName = keyof typeof SETTINGS;

/** Settings of nodes, which the configuration file may hold too. */
const NODE_SETTINGS = { inspection: { env: 'TROUPE_INSPECTION' } } as const;

const FILES: readonly SettingName[] = ['creds', 'nkey', 'tlscert', 'tlskey', 'tlsca'];

/**
 * Adds the connection options to a command.
 * @param without options that the command has another use for
 */
export function withConnection(
  command: Command,
  without: { readonly [K in SettingName]?: false } = {},
): Command {
  for (const [name, setting] of Object.entries<Setting>(SETTINGS)) {
    if (name in without) continue;
    const { flag, about, env, fallback } = setting;
    const notes = [...(fallback === undefined ? [] : [`default: ${fallback}`]), `env: ${env.at(-1)}`];
    command.addOption(new Option(flag, `${about} (${notes.join(', ')})`).helpGroup('Connection:'));
  }
  return command.addOption(
    new Option('--config <file>', 'configuration file (env: TROUPE_CONFIG)').helpGroup('Connection:'),
  );
}

/**
 * Settles the connection options of one invocation.
 * @param options what commander parsed
 * @throws TroupeError `usage` when one is not understood or names a file that is not there
 */
export function connectionSettings(
  options: Readonly<Record<string, unknown>>,
  env = process.env,
): ConnectionSettings {
  const file = configuration(options, env);
  const given = (name: SettingName): string | undefined => {
    const flag = options[name];
    if (typeof flag === 'string') return flag;
    for (const variable of SETTINGS[name].env) if (env[variable]) return env[variable];
    return file.get(name);
  };
  const wanted = (name: 'nats' | 'cluster' | 'schedulers' | 'timeout'): string =>
    given(name) ?? SETTINGS[name].fallback;

  const cluster = wanted('cluster');
  checkToken('cluster', cluster);
  const schedulers = wanted('schedulers')
    .split(',')
    .map((name) => name.trim());
  for (const name of schedulers) checkToken('scheduler', name);
  for (const name of FILES) {
    const path = given(name);
    if (path !== undefined && !existsSync(path)) {
      throw new TroupeError('usage', `--${name}: there is no file ${path}`);
    }
  }
  const servers = readServers(wanted('nats'));
  return {
    nats: servers.nats,
    natsGiven: given('nats') !== undefined,
    cluster,
    schedulers,
    timeoutMs: parseDuration('--timeout', wanted('timeout')),
    credentials: credentials(given, servers),
  };
}

/** A node's switch; `inspectionAllowed` reads it. */
export function withInspection(command: Command): Command {
  return command.option('--no-inspection', 'let nobody inspect what runs here (env: TROUPE_INSPECTION=off)');
}

/**
 * Whether inspectors may attach to the nodes of this invocation (true).
 * @param options what commander parsed
 * @throws TroupeError `usage` when it is neither on nor off
 */
export function inspectionAllowed(options: Readonly<Record<string, unknown>>, env = process.env): boolean {
  if (options.inspection === false) return false;
  const variable = NODE_SETTINGS.inspection.env;
  const given = env[variable] || configuration(options, env).get('inspection');
  if (given === undefined || given === 'on') return true;
  if (given === 'off') return false;
  throw new TroupeError(
    'usage',
    `${variable}, or "inspection" in the configuration file: "${given}" is neither on nor off`,
  );
}

/** @param inUrl user and password of the NATS URL, which options and variables override */
function credentials(
  given: (name: SettingName) => string | undefined,
  inUrl: Pick<Credentials, 'user' | 'password'>,
): Credentials {
  const found: Record<string, string> = {};
  const names = ['creds', 'nkey', 'user', 'password', 'tlscert', 'tlskey', 'tlsca', 'inboxPrefix'] as const;
  for (const name of names) {
    const value = given(name);
    if (value !== undefined) found[name] = value;
  }
  const { user = inUrl.user, password = inUrl.password, ...rest } = found;
  if (password !== undefined && user === undefined) throw new TroupeError('usage', '--password needs --user');
  if ((rest.tlscert === undefined) !== (rest.tlskey === undefined)) {
    throw new TroupeError('usage', '--tlscert and --tlskey go together: give both or neither');
  }
  if (user === undefined) return rest;
  // As in the nats tool, a user without a password is a token.
  return password === undefined ? { ...rest, token: user } : { ...rest, user, password };
}

/** The configuration file: `--config`, else TROUPE_CONFIG, else `$XDG_CONFIG_HOME/troupe/config.json` if it exists. */
function configuration(
  options: Readonly<Record<string, unknown>>,
  env: NodeJS.ProcessEnv,
): ReadonlyMap<string, string> {
  const named = typeof options.config === 'string' ? options.config : env.TROUPE_CONFIG;
  const path = named ?? join(env.XDG_CONFIG_HOME ?? join(homedir(), '.config'), 'troupe', 'config.json');
  if (!existsSync(path)) {
    if (named === undefined) return new Map();
    throw new TroupeError('usage', `the configuration file ${path} does not exist`);
  }
  let content: unknown;
  try {
    content = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new TroupeError('usage', `the configuration file ${path} is not JSON`, { cause });
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw new TroupeError('usage', `the configuration file ${path} must hold one JSON object`);
  }
  const settings = new Map<string, string>();
  for (const [name, value] of Object.entries(content)) {
    if (!(name in SETTINGS || name in NODE_SETTINGS)) {
      throw new TroupeError(
        'usage',
        `the configuration file ${path} has an unknown setting "${name}": it may hold ${Object.keys({ ...SETTINGS, ...NODE_SETTINGS }).join(', ')}`,
      );
    }
    if (typeof value !== 'string') {
      throw new TroupeError('usage', `the setting "${name}" in ${path} must be a string`);
    }
    settings.set(name, value);
  }
  return settings;
}

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Milliseconds of `500ms`, `5s`, `1m`; a bare number is seconds. @throws TroupeError `usage` */
export function parseDuration(option: string, text: string): number {
  const [, number, unit = 's'] = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text) ?? [];
  const milliseconds = Number(number) * (UNITS[unit] ?? Number.NaN);
  if (!(milliseconds > 0)) {
    throw new TroupeError('usage', `${option}: "${text}" is not a duration such as 500ms, 5s or 1m`);
  }
  return milliseconds;
}

const SIZE_UNITS: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };

/** Bytes of `96MiB`, `256KiB` or a bare number. @throws TroupeError `usage` */
export function parseSize(option: string, text: string): number {
  const [, number, unit = 'B'] = /^(\d+)\s*(B|KiB|MiB|GiB)?$/.exec(text) ?? [];
  const bytes = Number(number) * (SIZE_UNITS[unit] ?? Number.NaN);
  if (!(bytes > 0 && Number.isSafeInteger(bytes))) {
    throw new TroupeError('usage', `${option}: "${text}" is not a size such as 256KiB, 96MiB or 4096`);
  }
  return bytes;
}

/** A whole number within bounds. @throws TroupeError `usage` */
export function parseCount(option: string, text: string, least = 1, most = Number.MAX_SAFE_INTEGER): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= least && value <= most)) {
    const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
    throw new TroupeError('usage', `${option}: "${text}" is not a whole number ${range}`);
  }
  return value;
}

const ADDRESS = /^(?:(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):)?(\d{1,5})$/;

/** `9464`, which is a port of the loopback interface, or `0.0.0.0:9464`, `[::1]:9464`. @throws TroupeError `usage` */
export function parseAddress(option: string, text: string): { readonly host: string; readonly port: number } {
  const [, host = '127.0.0.1', digits] = ADDRESS.exec(text) ?? [];
  const port = Number(digits);
  if (!(port <= 65_535)) {
    throw new TroupeError('usage', `${option}: "${text}" is not an address such as 9464 or 0.0.0.0:9464`);
  }
  return { host: host.replace(/^\[(.*)\]$/, '$1'), port };
}

/** Names become parts of NATS subjects. @throws TroupeError `usage` */
export function checkToken(what: string, name: string): void {
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(name)) {
    throw new TroupeError(
      'usage',
      `"${name}" is not ${/^[aeiou]/.test(what) ? 'an' : 'a'} ${what} name: use 1 to 64 letters, digits, hyphens and underscores`,
    );
  }
}

const SERVER =
  /^(?:(?:nats|tls):\/\/)?(?:([^\s/:@]*)(?::([^\s/@]*))?@)?((?:[^\s/:@[\]]+|\[[0-9a-f:]+\])(?::\d+)?)\/?$/i;

/** NATS URLs, and the user and password of the first that has some: they stand in no URL that is ever shown. */
function readServers(text: string): { nats: string; user?: string; password?: string } {
  let found: { user?: string; password?: string } = {};
  const servers = text.split(',').map((server) => {
    const [, user, password, address] = SERVER.exec(server.trim()) ?? [];
    if (address === undefined) {
      const shown = server.includes('@') ? 'what follows' : `"${server}"`;
      throw new TroupeError('usage', `--nats: ${shown} is not a NATS URL such as nats://127.0.0.1:4222`);
    }
    if (user !== undefined && found.user === undefined) {
      found = {
        user: decodeURIComponent(user),
        ...(password === undefined ? {} : { password: decodeURIComponent(password) }),
      };
    }
    return server.trim().startsWith('tls://') ? `tls://${address}` : `nats://${address}`;
  });
  return { nats: servers.join(','), ...found };
}
