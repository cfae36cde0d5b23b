import { existsSync, readdirSync } from 'node:fs';
import { expect } from 'chai';
import type { ClusterStatus } from '../../cluster/index.js';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import { skip } from '../skip.js';
import { alive, eventually, type RunningCommand, Workplace } from './command.js';

describe('troupe up', () => {
  let place: Workplace;
  let nats: TestNatsServer;

  before(function () {
    if (!hasNatsServer()) skip(this, 'nats-server is not installed');
  });
  beforeEach(async () => {
    place = new Workplace();
    nats = await TestNatsServer.start();
  });
  afterEach(async () => {
    await place?.close();
    await nats?.stop();
  });

  async function up(...words: string[]): Promise<RunningCommand> {
    const command = place.start(['up', '--nats', nats.url, ...words]);
    await command.printed(/Ctrl-C stops the cluster/);
    return command;
  }

  async function status(): Promise<ClusterStatus> {
    const { stdout } = await place.run(['status', '--json', '--nats', nats.url]);
    return JSON.parse(stdout) as ClusterStatus;
  }

  /** The pids in the table. */
  function pidsOf(command: RunningCommand): number[] {
    return [...command.stdout.matchAll(/^(?:scheduler|store)-\d+ +(\d+)/gm)].map((match) => Number(match[1]));
  }

  it('serves, prints a table and lines that work as they are', async () => {
    const command = await up();
    expect(pidsOf(command)).to.have.length(4);
    expect(command.stdout).to.match(/The data is temporary/);
    const lines = [...command.stdout.matchAll(/^ {2}.*?((?:kv|status) .*|status)$/gm)].map(
      (match) => match[1] ?? '',
    );
    expect(lines).to.have.length(3);
    const [put, get, show] = await inOrder(lines.map((line) => line.split(' ')));
    expect(put).to.include({ code: 0, stdout: '', stderr: '' });
    expect(get).to.include({ code: 0, stdout: 'world\n', stderr: '' });
    expect(show?.stdout).to.match(/store-3/);

    async function inOrder(all: readonly string[][]) {
      const ended = [];
      for (const words of all) ended.push(await place.run(words));
      return ended;
    }
  });

  it('goes on when a store is killed, starts it again and says so', async () => {
    const command = await up();
    const { stores, regions } = await eventually('the region has a leader', async () => {
      const now = await status();
      return now.regions[0]?.leader == null ? undefined : now;
    });
    const leader = stores.find(({ id }) => id === regions[0]?.leader);
    process.kill(leader?.pid ?? 0, 'SIGKILL');
    const put = await place.run(['kv', 'put', 'after', 'the crash', '--nats', nats.url, '--timeout', '20s']);
    expect(put).to.include({ code: 0 });
    const get = await place.run(['kv', 'get', 'after', '--nats', nats.url]);
    expect(get.stdout).to.equal('the crash\n');
    await command.printed(new RegExp(`${leader?.node} died \\(SIGKILL\\): starting it again in 0\\.3 s`));
    await command.printed(new RegExp(`${leader?.node} serves again`));
    await eventually('the new process is registered', async () => {
      const again = (await status()).stores.find(({ id }) => id === leader?.id);
      return again?.pid !== leader?.pid && again?.state === 'Up' ? true : undefined;
    });
  });

  it('stops on Ctrl-C without leaving processes or temporary data', async () => {
    const command = await up();
    const pids = pidsOf(command);
    command.signal('SIGINT');
    const { code, stderr } = await command.ended;
    expect(code).to.equal(0);
    expect(stderr).to.match(/Stopped\. Its data was temporary and is gone/);
    expect(pids.filter(alive)).to.deep.equal([]);
    expect(readdirSync(place.directory).filter((name) => name.startsWith('troupe-'))).to.deep.equal([]);
  });

  it('ends every process when it is killed itself', async () => {
    const command = await up();
    const pids = pidsOf(command);
    command.signal('SIGKILL');
    await command.ended;
    await eventually('no node is left', () => (pids.some(alive) ? undefined : true));
  });

  it('keeps the data with --data, and remembers how many stores there are', async () => {
    const data = place.path('kept');
    const first = await up('--data', data, '--stores', '1');
    await place.run(['kv', 'put', 'k', 'v', '--nats', nats.url]);
    first.signal('SIGTERM');
    expect((await first.ended).stderr).to.include(`Its data is in ${data}`);
    expect(existsSync(data)).to.equal(true);
    const second = await up('--data', data);
    expect(pidsOf(second)).to.have.length(2);
    expect((await place.run(['kv', 'get', 'k', '--nats', nats.url])).stdout).to.equal('v\n');
  });

  it('serves one store without replication with --standalone, and never mixes the two', async () => {
    const data = place.path('alone');
    const alone = await up('--data', data, '--stores', '1', '--standalone');
    expect(alone.stdout).to.match(/without replication/);
    await place.run(['kv', 'put', 'k', 'v', '--nats', nats.url]);
    const [store] = (await status()).stores;
    process.kill(store?.pid ?? 0, 'SIGKILL');
    await alone.printed(/store-1 serves again/);
    expect((await place.run(['kv', 'get', 'k', '--nats', nats.url])).stdout).to.equal('v\n');
    alone.signal('SIGINT');
    await alone.ended;
    const replicated = await place.run(['up', '--data', data, '--nats', nats.url]);
    expect(replicated.code, replicated.stderr).to.be.within(1, 4);
    expect(replicated.stderr).to.match(/written with --standalone/);
  });

  it('starts a nats-server of its own when none is named, and ends it even when it is killed', async () => {
    const command = place.start(['up', '--stores', '1', '--cluster', `own-${process.pid}`]);
    await command.printed(/Ctrl-C stops the cluster/);
    const own = /^nats-server +(\d+)/m.exec(command.stdout);
    const pids = [...pidsOf(command), ...(own ? [Number(own[1])] : [])];
    command.signal('SIGKILL');
    await command.ended;
    await eventually('no process is left', () => (pids.some(alive) ? undefined : true));
  });
});
