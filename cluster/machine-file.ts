/** The machines that a user's file exports. */

import { readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname, extname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { AnyStateMachine } from 'xstate';
import { isMachine, isOldMachine } from './charts/read-machine.js';
import { TroupeError } from './errors.js';

const JAVASCRIPT = ['.js', '.mjs', '.cjs'];
const TYPESCRIPT = ['.ts', '.mts', '.cts'];

/** `FILE` or `FILE#exportName`. */
export interface MachineFile {
  readonly file: string;
  readonly exportName: string | undefined;
}

/** Whether a word names a file rather than anything known: it ends like one or has a folder in it. */
export function namesFile(word: string): boolean {
  const { file } = parseMachineFile(word);
  return /[/\\]/.test(file) || [...JAVASCRIPT, ...TYPESCRIPT].includes(extname(file));
}

export function parseMachineFile(word: string): MachineFile {
  const at = word.lastIndexOf('#');
  return at < 0
    ? { file: word, exportName: undefined }
    : { file: word.slice(0, at), exportName: word.slice(at + 1) };
}

/**
 * Runs the file, as importing a module does, and gives the machine that it exports.
 * @throws TroupeError `usage` when the file is not there, exports none or several, or holds a machine that contradicts
 * itself; `not-found` when it has no such export; `failed` when it throws
 */
export async function loadMachine(word: string, suggest: SuggestName): Promise<AnyStateMachine> {
  const { file, exportName } = parseMachineFile(word);
  checkFile(file);
  const exported = Object.entries(await importFile(file));
  const machines = exported.filter((entry): entry is [string, AnyStateMachine] => isMachine(entry[1]));
  const names = machines.map(([name]) => name);
  if (exportName !== undefined) {
    const found = machines.find(([name]) => name === exportName);
    if (found !== undefined) return found[1];
    const other = exported.some(([name]) => name === exportName);
    const what = other
      ? `what ${file} exports as ${exportName} is no machine`
      : `${file} exports no ${exportName}`;
    const rest = names.length === 0 ? '' : `: it has ${names.join(', ')}${suggest(exportName, names)}`;
    throw new TroupeError('not-found', `${what}${rest}`);
  }
  // A module may export one machine under two names, as itself and as the default.
  const [only, ...others] = new Set(machines.map(([, machine]) => machine));
  if (only === undefined) throw noMachine(file, exported);
  if (others.length > 0) {
    throw new TroupeError(
      'usage',
      `${file} exports several machines: name one, as in ${file}#${names[0]} (${names.join(', ')})`,
    );
  }
  return only;
}

/** Words to add when a name is nearly one of these. */
export type SuggestName = (typed: string, names: readonly string[]) => string;

function checkFile(file: string): void {
  const stat = statSync(file, { throwIfNoEntry: false });
  if (stat === undefined)
    throw new TroupeError('usage', `${file} is not there: name a JavaScript or TypeScript file`);
  if (!stat.isFile())
    throw new TroupeError('usage', `${file} is no file: name a JavaScript or TypeScript file`);
  if (![...JAVASCRIPT, ...TYPESCRIPT].includes(extname(file))) {
    throw new TroupeError(
      'usage',
      `${file} is neither JavaScript nor TypeScript: its name must end with one of ${[...JAVASCRIPT, ...TYPESCRIPT].join(' ')}`,
    );
  }
}

function noMachine(file: string, exported: readonly (readonly [string, unknown])[]): TroupeError {
  const old = exported.find(([, value]) => isOldMachine(value));
  if (old !== undefined) {
    return new TroupeError(
      'usage',
      `${file} exports a machine of XState 4 as ${old[0]}: only machines of XState 5 are known`,
    );
  }
  const names = exported.map(([name]) => name);
  const has = names.length === 0 ? 'it exports nothing' : `it exports ${names.join(', ')}`;
  return new TroupeError('usage', `${file} exports no machine (${has}): export what createMachine returns`);
}

async function importFile(file: string): Promise<Record<string, unknown>> {
  const address = pathToFileURL(resolve(file)).href;
  try {
    if (!TYPESCRIPT.includes(extname(file))) return moduleOf(await import(address));
    // Node 20 reads no TypeScript, and later ones only a part of it.
    if (isCommonJs(file)) {
      // Imported, such a module is an address with all of its text, which nobody can read in a stack trace.
      const { require } = await import('tsx/cjs/api');
      return moduleOf(require(resolve(file), import.meta.url));
    }
    const { tsImport } = await import('tsx/esm/api');
    return moduleOf(await tsImport(address, import.meta.url));
  } catch (cause) {
    throw whyNot(file, cause);
  }
}

/** What Node.js says: the extension, or else the nearest package. */
function isCommonJs(file: string): boolean {
  const extension = extname(file);
  if (extension !== '.ts') return extension === '.cts';
  for (let folder = dirname(realpathSync(file)); ; folder = dirname(folder)) {
    const text = readText(join(folder, 'package.json'));
    if (text !== undefined) return !saysModule(text);
    if (folder === dirname(folder)) return true;
  }
}

/** A file that is no JSON, one with comments for example, is searched: better than no answer. */
function saysModule(text: string): boolean {
  try {
    const manifest: unknown = JSON.parse(text);
    return (
      typeof manifest === 'object' && manifest !== null && 'type' in manifest && manifest.type === 'module'
    );
  } catch {
    return /"type"\s*:\s*"module"/.test(text);
  }
}

function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

/** CommonJS arrives as the default of a module. */
function moduleOf(module: unknown): Record<string, unknown> {
  const members: Record<string, unknown> = { ...(module as object) };
  const { default: inner } = members;
  if (typeof inner !== 'object' || inner === null || isMachine(inner)) return members;
  const { 'module.exports': _, default: __, ...rest } = members;
  return { ...inner, ...rest };
}

function whyNot(file: string, cause: unknown): TroupeError {
  const reason = (cause instanceof Error ? cause.message : String(cause)).trim().replace(/\s*\n\s*/g, ' ');
  if (/^Cannot find (package|module) '[^']*xstate/.test(reason)) {
    return new TroupeError(
      'usage',
      `${file} imports xstate, which is not installed beside it: run npm install xstate there`,
      { cause },
    );
  }
  if (isDefinitionError(reason)) {
    return new TroupeError('usage', `a machine in ${file} contradicts itself: ${reason}`, { cause });
  }
  const syntax = cause instanceof SyntaxError || (cause instanceof Error && cause.name === 'TransformError');
  return syntax
    ? new TroupeError('usage', `${file} cannot be read: ${reason}`, { cause })
    : new TroupeError('failed', `${file} threw when it was loaded: ${reason}`, { cause });
}

/** XState's sentences about a definition; it throws them as plain errors. */
function isDefinitionError(reason: string): boolean {
  return /^(Invalid transition definition|Child state|Initial state node|No initial state|Multiple|State node|Invalid )/.test(
    reason,
  );
}
