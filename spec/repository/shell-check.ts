import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CommanderError } from 'commander';
import { createProgram } from '../../cluster/cli/program.js';
import { ROOT } from './markdown.js';

/** What the documents use besides `troupe`, `npm` and `node`: a name that is not here is a slip of the pen. */
const OTHER_PROGRAMS: ReadonlySet<string> = new Set([
  'cat',
  'cd',
  'dot',
  'head',
  'install',
  'jq',
  'kill',
  'kubectl',
  'ln',
  'mkdir',
  'openssl',
  'pgrep',
  'sleep',
  'systemctl',
  'useradd',
  'zcat',
]);

/** A command as the shell would start it: after expansions, without redirections. */
export interface Command {
  /** In the script, from 1. */
  readonly line: number;
  readonly words: readonly string[];
}

/** What a script would run. */
export interface Dissection {
  readonly commands: readonly Command[];
  /** What the shell complains of. */
  readonly complaints: string;
}

/** Nothing runs, so this is a loop without an end. */
const DISSECTION_MS = 10_000;
const WORD_END = '\x1f';
const COMMAND_END = '\x1e';
/** Each process of the shell has a record of its own: the ends of a pipe write at the same time. Finds no program, so that every command comes here; and what the shell would do by itself, it does not. */
const RECORDER = `PATH=/nowhere
record() { local IFS=$'\\x1f'; printf '%s\\x1e' "$*" >> "$RECORD/$BASHPID"; }
command_not_found_handle() { record "\${BASH_LINENO[0]}" "$@"; }
for word in cd kill exec exit source wait; do eval "$word() { record \\"\\\${BASH_LINENO[0]}\\" $word \\"\\$@\\"; }"; done
`;

/** Has bash take a script apart without running anything of it. @throws Error when it names a program by its path */
export function dissect(script: string): Dissection {
  const path = /^(?:.*[|;&(]\s*)?(\.{0,2}\/\S*)/m.exec(script)?.[1];
  if (path !== undefined) throw new Error(`${path} would be run: name it without its path.`);
  const directory = mkdtempSync(join(tmpdir(), 'troupe-shell-'));
  try {
    const record = join(directory, 'record');
    const recorder = join(directory, 'recorder');
    mkdirSync(record);
    writeFileSync(recorder, RECORDER);
    for (const [, file = ''] of script.matchAll(/[^<]<\s*([\w.-]+)/g))
      writeFileSync(join(directory, file), '');
    const { stderr, error } = spawnSync('bash', ['--norc', '-uo', 'pipefail', '-c', script], {
      cwd: directory,
      timeout: DISSECTION_MS,
      killSignal: 'SIGKILL',
      encoding: 'utf8',
      env: { BASH_ENV: recorder, RECORD: record, HOME: directory },
    });
    if (error !== undefined)
      return { commands: [], complaints: `bash did not come to an end: ${error.message}` };
    const commands = readdirSync(record)
      .flatMap((process) => readFileSync(join(record, process), 'utf8').split(COMMAND_END).slice(0, -1))
      .map((text) => text.split(WORD_END))
      .map(([line, ...words]) => ({ line: Number(line), words }))
      .toSorted((a, b) => a.line - b.line);
    return { commands, complaints: stderr };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** What is wrong with a command; nothing, if all is well. */
export async function faultOf({ words }: Command): Promise<string | undefined> {
  const [name = '', ...rest] = words;
  if (name === 'troupe') return faultOfTroupe(rest);
  if (name === 'npm') return faultOfNpm(rest);
  if (name === 'node') {
    const [file] = rest;
    return file?.startsWith('dist/') && !existsSync(join(ROOT, file)) ? `there is no ${file}` : undefined;
  }
  return OTHER_PROGRAMS.has(name) ? undefined : `no document has used ${name} so far`;
}

const understood = Symbol('understood');
/** The command line; it stops before it does anything. */
export const program = (await createProgram()).hook('preAction', () => {
  throw understood;
});

/** What `troupe` would say of its words before it does anything. */
export async function faultOfTroupe(words: readonly string[]): Promise<string | undefined> {
  if (words.length === 1 && words[0] === '--version') return undefined;
  try {
    await program.parseAsync(words, { from: 'user' });
    return 'it would only show help';
  } catch (error) {
    if (error === understood) return undefined;
    if (error instanceof CommanderError) return error.message;
    throw error;
  }
}

/** Scripts of package.json, by name. */
export function npmScripts(): Readonly<Record<string, string>> {
  return JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).scripts;
}

/** What npm does without a script of ours. */
const NPM_OWN: ReadonlySet<string> = new Set(['install', 'ci', 'init', 'link', 'pack']);

async function faultOfNpm([verb = '', ...rest]: readonly string[]): Promise<string | undefined> {
  if (NPM_OWN.has(verb)) return undefined;
  const words = verb === 'run' ? rest.filter((word, i) => i > 0 || !word.startsWith('-')) : [verb, ...rest];
  const [script = '', dashes, ...given] = words;
  if (!(script in npmScripts())) return `package.json has no script ${script}`;
  return script === 'troupe' && dashes === '--' ? faultOfTroupe(given) : undefined;
}
