import { symlinkSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import { skip } from '../skip.js';
import { type RunningCommand, Workplace } from './command.js';

const MACHINE =
  "import { createMachine } from 'xstate';\nexport const m = createMachine({ id: 'm', context: {} });\n";

describe('the name of a deployed actor in a cluster', function () {
  this.timeout(240_000);
  let place: Workplace;
  let nats: TestNatsServer;

  before(async function () {
    if (!hasNatsServer()) skip(this, 'nats-server is not installed');
    place = new Workplace();
    nats = await TestNatsServer.start();
    symlinkSync(
      fileURLToPath(new URL('../../../node_modules', import.meta.url)),
      place.path('node_modules'),
      'junction',
    );
    writeFileSync(place.path('m.mjs'), MACHINE);
  });
  after(async () => {
    await place?.close();
    await nats?.stop();
  });

  async function deploy(directory: string): Promise<RunningCommand> {
    const words = [
      'deploy',
      place.path('m.mjs'),
      '--name',
      'it',
      '--nats',
      nats.url,
      '--data',
      place.path(directory),
    ];
    const command = place.start(words);
    await command.printed(/is served by/);
    return command;
  }

  async function owner(): Promise<{ host?: string }> {
    const { stdout } = await place.run(['kv', 'get', 'troupe/actors/it', '--nats', nats.url]);
    return JSON.parse(stdout) as { host?: string };
  }

  it('is claimed by compare-and-swap, by whoever comes after a host that does not answer, and given up', async () => {
    const cluster = place.start(['up', '--stores', '1', '--nats', nats.url]);
    await cluster.printed(/Ctrl-C stops the cluster/);
    const first = await deploy('first');
    const { host } = await owner();
    expect(first.stderr).to.include(`it is served by ${host};`);
    first.signal('SIGKILL');
    await first.ended;
    const again = await deploy('first');
    expect((await owner()).host).to.equal(host);
    again.signal('SIGKILL');
    await again.ended;
    const second = await deploy('second');
    expect(second.stderr).to.include(`it was last on ${host}, which does not answer: its state stays there`);
    expect((await owner()).host).to.not.equal(host);
    second.signal('SIGTERM');
    expect((await second.ended).code).to.equal(0);
    expect(await owner()).to.deep.equal({});
  });
});
