import { spawn } from 'node:child_process';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import { blocksOf, runs } from '../repository/markdown.js';
import { skip } from '../skip.js';
import { type RunningCommand, Workplace } from './command.js';

const GUIDE = fileURLToPath(new URL('../../../docs/guides/first-actor.md', import.meta.url));
const MODULES = fileURLToPath(new URL('../../../node_modules', import.meta.url));

describe('the guide to the first actor', () => {
  let place: Workplace;
  let nats: TestNatsServer;

  before(async function () {
    if (!hasNatsServer()) skip(this, 'nats-server is not installed');
    place = new Workplace();
    nats = await TestNatsServer.start();
    symlinkSync(MODULES, place.path('node_modules'), 'junction');
  });
  after(async () => {
    await place?.close();
    await nats?.stop();
  });

  it('shows what happens', async () => {
    const blocks = blocksOf(readFileSync(GUIDE, 'utf8'));
    const hosts: RunningCommand[] = [];
    const env = { NATS_URL: nats.url };
    /** What a line prints; a host's own words are not part of the guide. */
    const run = async (line: string): Promise<string> => {
      const words = [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? '');
      const [program, command = '', file = ''] = words;
      if (program === 'kill') {
        hosts.at(-1)?.signal('SIGKILL');
        await hosts.at(-1)?.ended;
        return '';
      }
      if (program === 'sleep') {
        await new Promise((resolve) => setTimeout(resolve, Number(command) * 1000));
        return '';
      }
      if (program === 'node') return output(place.path(command), env);
      expect(program).to.equal('troupe');
      if (command !== 'deploy') {
        const { stdout, stderr } = await place.run(words.slice(1), undefined, env);
        return stdout + stderr;
      }
      const host = place.start(['deploy', place.path(file), ...words.slice(3)], env);
      hosts.push(host);
      await host.printed(/is served by/);
      return '';
    };
    let printed = '';
    let shown = 0;
    for (const block of blocks) {
      const { file, kind, text } = block;
      if (file !== undefined) writeFileSync(place.path(file), text);
      else if (kind === 'sh' && runs(block)) {
        printed = '';
        for (const line of text.trimEnd().split('\n')) printed += await run(line);
      } else if (kind === 'text') {
        expect(printed).to.equal(text);
        shown++;
      }
    }
    expect(shown).to.equal(7);
    // Both were undeployed: their hosts have ended by themselves.
    for (const host of hosts.slice(1)) expect((await host.ended).code).to.equal(0);
  });
});

/** What a program prints. */
function output(file: string, env: NodeJS.ProcessEnv): Promise<string> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [file], { env: { PATH: process.env.PATH, ...env } });
    let text = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => {
        text += chunk;
      });
    child.once('close', () => resolve(text));
  });
}
