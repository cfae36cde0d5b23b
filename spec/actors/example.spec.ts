import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import { until } from './fixtures.js';

const MANUAL = fileURLToPath(new URL('../../../docs/actors.md', import.meta.url));
const SOURCES = fileURLToPath(new URL('../../../spec/actors/example/', import.meta.url));

interface Program {
  stop(): void;
  readonly lines: string[];
  readonly ended: Promise<number | null>;
}

function start(name: string, url: string): Program {
  const file = fileURLToPath(new URL(`example/${name}.js`, import.meta.url));
  const child = spawn(process.execPath, [file], { env: { ...process.env, NATS_URL: url } });
  const lines: string[] = [];
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => lines.push(...text.trimEnd().split('\n')));
  }
  return {
    stop: () => child.kill('SIGTERM'),
    lines,
    ended: new Promise((resolve) => child.once('close', resolve)),
  };
}

describe('the example of the manual', () => {
  for (const name of ['guestbook.machine.ts', 'server.ts', 'client.ts']) {
    it(`stands there word for word: ${name}`, () => {
      const source = readFileSync(SOURCES + name, 'utf8').replace(
        '../../../actors/index.js',
        'troupe/actors',
      );
      expect(readFileSync(MANUAL, 'utf8')).to.include(`\`\`\`ts\n${source}\`\`\``);
    });
  }

  (hasNatsServer() ? it : it.skip)('runs in two processes over NATS', async () => {
    const nats = await TestNatsServer.start();
    try {
      const server = start('server', nats.url);
      await until(() => server.lines.length > 0, 'the server');
      const client = start('client', nats.url);
      expect(await client.ended).to.equal(0);
      expect(client.lines).to.deep.equal([
        'Ada, Grace, Edsger',
        'hall-1/guestbook is gone: done',
        'no answer: no-such-actor',
      ]);
      server.stop();
      expect(await server.ended).to.equal(0);
      expect(server.lines).to.deep.equal([
        'hall-1/guestbook is open',
        'the guestbook is gone: done',
        'it failed 1 time and was restarted 1 time',
      ]);
    } finally {
      await nats.stop();
    }
  }).timeout(20_000);
});
