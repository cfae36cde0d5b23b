import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';

const TERMINAL = fileURLToPath(new URL('../../cluster/cli/terminal.js', import.meta.url));

/** Prints line after line until `end` says that it is enough; then it says so. */
function printing(end: string): ChildProcess {
  const script = `
    const terminal = await import(${JSON.stringify(TERMINAL)});
    terminal.endQuietlyWithoutReader();
    const reader = ${end};
    for (let i = 0; !reader.aborted; i++) await terminal.printAll(String(i).padEnd(1000) + '\\n');
    terminal.say('put in order');
  `;
  return spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Reads a line, and goes. @returns the exit code, and what was said */
async function leave(child: ChildProcess): Promise<{ code: unknown; said: string }> {
  const { stdout, stderr } = child;
  if (stdout === null || stderr === null) throw new Error('a process without streams');
  const said = text(stderr);
  await once(stdout, 'data');
  stdout.destroy();
  const [code] = await once(child, 'exit');
  return { code, said: await said };
}

describe('a command whose reader goes away', () => {
  it('ends at once, without a word', async () => {
    const child = printing('{ aborted: false }');
    expect(await leave(child)).to.deep.equal({ code: 0, said: '' });
  });

  it('puts in order first what it has to', async () => {
    const child = printing('terminal.untilReaderIsLost()');
    expect(await leave(child)).to.deep.equal({ code: 0, said: 'put in order\n' });
  });
});
