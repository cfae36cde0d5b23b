import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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
const NEWLINE = '\x1d';
/**
 * Finds no program, so that every command comes here; and what the shell would do by itself, it does not. Restricted, it starts
 * nothing by a path and writes to no file either; where commands are noted was opened before. A note is one write: those of a
 * pipe's ends do not mix.
 */
const RECORDER = `PATH=/nowhere
exec 7>> "$RECORD"
record() { local IFS=$'\\x1f' words; words="$*"; printf '%s\\x1e' "\${words//$'\\n'/$'\\x1d'}" >&7; }
command_not_found_handle() { record "\${BASH_LINENO[0]}" "$@"; }
for word in cd kill exec exit source wait builtin command; do
  eval "$word() { record \\"\\\${BASH_LINENO[0]}\\" $word \\"\\$@\\"; }"
done
set -r
`;
/** To a file of the folder that a document is followed in, or to nowhere. The restricted shell would not even name what stands before it. */
const HARMLESS_REDIRECTION = /(?:(?<=\s)\d|&)?>>?[ \t]*(?:\/dev\/null|[\w.-]+)(?=[\s;|&)])/g;

/**
 * Has bash take a script apart without running anything of it. Commands that it does not come to (what stands behind `||`, a
 * branch that is not taken) it does not see. It complains of programs that are named by their path, and of redirections to a file
 * in another folder.
 */
export function dissect(script: string): Dissection {
  const directory = mkdtempSync(join(tmpdir(), 'troupe-shell-'));
  try {
    const record = join(directory, 'record');
    const recorder = join(directory, 'recorder');
    writeFileSync(record, '');
    writeFileSync(recorder, RECORDER);
    for (const [, file = ''] of script.matchAll(/[^<]<\s*([\w.-]+)/g))
      writeFileSync(join(directory, file), '');
    const harmless = `${script}\n`.replaceAll(HARMLESS_REDIRECTION, '');
    const { stderr, error } = spawnSync('bash', ['--norc', '-uo', 'pipefail', '-c', harmless], {
      cwd: directory,
      timeout: DISSECTION_MS,
      killSignal: 'SIGKILL',
      encoding: 'utf8',
      env: { BASH_ENV: recorder, RECORD: record, HOME: directory },
    });
    if (error !== undefined)
      return { commands: [], complaints: `bash did not come to an end: ${error.message}` };
    const commands = readFileSync(record, 'utf8')
      .split(COMMAND_END)
      .slice(0, -1)
      .map((text) => text.replaceAll(NEWLINE, '\n').split(WORD_END))
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
