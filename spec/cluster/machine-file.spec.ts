import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { createActor } from 'xstate';
import { standWhereTheUserIs } from '../../cluster/cli/npm-script.js';
import { loadMachine } from '../../cluster/machine-file.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const DOOR = `import { createMachine } from 'xstate';

interface Note {
  readonly text: string;
}
export const door = createMachine({
  id: 'door',
  on: {
    boom: {
      actions: () => {
        const note: Note = { text: 'told to' };
        throw new Error(note.text);
      },
    },
  },
});
`;

describe("a user's file", function () {
  this.timeout(20_000);
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'troupe-file-'));
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'), 'junction');
    mkdirSync(join(folder, 'module'));
    writeFileSync(join(folder, 'module', 'package.json'), '{"type":"module"}');
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  for (const file of ['door.ts', 'door.mts', 'door.cts', 'module/door.ts']) {
    it(`has its own lines in the stack of what it throws: ${file}`, async () => {
      const path = join(folder, file);
      writeFileSync(path, DOOR);
      const machine = await loadMachine(path, () => '');
      let stack = '';
      const actor = createActor(machine);
      actor.subscribe({
        error: (error) => {
          stack = error instanceof Error ? (error.stack ?? '') : '';
        },
      });
      actor.start().send({ type: 'boom' });
      expect(stack).to.match(new RegExp(`${file.replace('.', '\\.')}:12:`));
      expect(stack).to.not.include('data:');
    });
  }

  it('is named from where the user stands when npm runs the script of the checkout', () => {
    const before = process.cwd();
    const env = {
      INIT_CWD: folder,
      npm_lifecycle_event: 'troupe',
      npm_package_json: join(root, 'package.json'),
    };
    try {
      standWhereTheUserIs({ ...env, npm_lifecycle_event: 'test' });
      standWhereTheUserIs({ ...env, npm_package_json: join(folder, 'package.json') });
      expect(process.cwd()).to.equal(before);
      standWhereTheUserIs(env);
      expect(process.cwd()).to.equal(folder);
    } finally {
      process.chdir(before);
    }
  });
});
