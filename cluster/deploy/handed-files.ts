/** Files that were handed to a host: where they are, and that they are served again after its restart. */

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Engine } from '../../storage/index.js';
import { TroupeError } from '../errors.js';
import { loadDeployable } from './deployable.js';
import type { Deployable } from './deployment.js';
import { MAX_BYTES, NAME, readObject } from './protocol.js';
import { deploymentKey } from './records.js';
import { rows } from './stored-actor.js';

/** A file on its way to a host, and what to make of it. */
export interface HandOver {
  readonly name: string;
  /** Its name without folders. */
  readonly file: string;
  readonly source: string;
  readonly exportName?: string;
  readonly input?: unknown;
  readonly instances?: Deployable['instances'];
  readonly fresh: boolean;
  /** Takes the place of what is deployed under the name, state included. */
  readonly replace?: boolean;
}

const FILE = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

export class HandedFiles {
  /** @param dataDir the host's directory; the files are in `machines` below it */
  constructor(
    private readonly engine: Engine,
    private readonly dataDir: string,
  ) {}

  /** Those that are to be served. */
  async all(): Promise<readonly HandOver[]> {
    const handed: HandOver[] = [];
    for await (const [, value] of rows(this.engine, Buffer.from('d'))) {
      handed.push({ ...(JSON.parse(value) as HandOver), fresh: false });
    }
    return handed;
  }

  /** Writes the file and loads its machine. @throws TroupeError as `loadDeployable` */
  async load({ name, file, source, exportName, input, instances, fresh }: HandOver): Promise<Deployable> {
    // A folder for each content: a module is loaded once for its path.
    const folder = join(
      this.dataDir,
      'machines',
      createHash('sha256').update(source).digest('hex').slice(0, 16),
    );
    mkdirSync(folder, { recursive: true });
    linkXState(join(this.dataDir, 'machines'));
    const path = join(folder, file);
    writeFileSync(path, source);
    const word = exportName === undefined ? path : `${path}#${exportName}`;
    const machine = await loadDeployable(word, input, () => '');
    return { name, machine, file, input, instances, fresh };
  }

  async keep(handed: HandOver): Promise<void> {
    const batch = this.engine.batch();
    batch.put(
      'default',
      deploymentKey(handed.name),
      Buffer.from(JSON.stringify({ ...handed, replace: undefined })),
    );
    await this.engine.write(batch);
    await this.engine.sync();
  }

  async forget(name: string): Promise<void> {
    const batch = this.engine.batch();
    batch.delete('default', deploymentKey(name));
    await this.engine.write(batch);
    await this.engine.sync();
  }
}

/** Why the two options exclude each other: the old machine serves on when the new one cannot, with its state. */
export const FRESH_REPLACEMENT =
  '--replace keeps the state, which --fresh forgets: undeploy it with --purge, and deploy the new file then';

/** What a request says. @throws TroupeError `invalid-argument` */
export function readHandOver(bytes: Uint8Array): HandOver {
  const given = readObject(bytes);
  const { name, file, source, exportName, input, instances, fresh, replace } = given ?? {};
  if (typeof name !== 'string' || !NAME.test(name))
    throw bad('a name of letters, digits, hyphens and underscores');
  if (typeof file !== 'string' || !FILE.test(file) || file !== basename(file))
    throw bad('the name of a file');
  if (typeof source !== 'string' || Buffer.byteLength(source) > MAX_BYTES) {
    throw bad(`the text of the file, at most ${MAX_BYTES} bytes`);
  }
  if (exportName !== undefined && typeof exportName !== 'string') throw bad('the name of an export');
  if (fresh === true && replace === true) throw new TroupeError('invalid-argument', FRESH_REPLACEMENT);
  return {
    name,
    file,
    source,
    ...(exportName === undefined ? {} : { exportName }),
    ...(input === undefined ? {} : { input }),
    ...(instances === undefined ? {} : { instances: readInstances(instances) }),
    fresh: fresh === true,
    replace: replace === true,
  };
}

function readInstances(given: unknown): NonNullable<Deployable['instances']> {
  if (
    typeof given === 'object' &&
    given !== null &&
    'member' in given &&
    'idleMs' in given &&
    'most' in given
  ) {
    const { member, idleMs, most } = given;
    if (typeof member === 'string' && member !== '' && isPositive(idleMs) && isPositive(most)) {
      return { member, idleMs, most };
    }
  }
  throw bad('of instances the member, the idle time and how many');
}

function isPositive(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0;
}

function bad(what: string): TroupeError {
  return new TroupeError('invalid-argument', `a file that is handed over comes with ${what}`);
}

/** The files import xstate: they get the host's own. Others can be installed in the folder by whoever runs the host. */
function linkXState(folder: string): void {
  const modules = join(folder, 'node_modules');
  const link = join(modules, 'xstate');
  if (existsSync(link)) return;
  let directory = dirname(fileURLToPath(import.meta.resolve('xstate')));
  while (!existsSync(join(directory, 'package.json')) || basename(directory) !== 'xstate') {
    const above = dirname(directory);
    if (above === directory) return;
    directory = above;
  }
  mkdirSync(modules, { recursive: true });
  symlinkSync(directory, link, 'junction');
}
