import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import type { OperatorInfo, PlacedRegionInfo, StoreInfo } from '../../cluster/index.js';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import { skip } from '../skip.js';
import { alive, type Ended, eventually, type RunningCommand, Workplace } from './command.js';

describe('commands of placement', () => {
  let place: Workplace;
  let nats: TestNatsServer;
  let cluster: RunningCommand;

  before(async function () {
    if (!hasNatsServer()) skip(this, 'nats-server is not installed');
    place = new Workplace();
    nats = await TestNatsServer.start();
    cluster = await up();
  });
  after(async () => {
    await place?.close();
    await nats?.stop();
  });

  async function up(): Promise<RunningCommand> {
    const words = ['up', '--nats', nats.url, '--data', place.path('data'), '--halt-scheduling'];
    const command = place.start(words);
    await command.printed(/Ctrl-C stops the cluster/);
    return command;
  }

  function troupe(...words: string[]): Promise<Ended> {
    return place.run([...words, '--nats', nats.url]);
  }

  async function told<T>(...words: string[]): Promise<T[]> {
    const { code, stdout, stderr } = await troupe(...words, '--json');
    expect(code, stderr).to.equal(0);
    return stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as T);
  }

  async function one<T>(...words: string[]): Promise<T> {
    const [only = expect.fail('nothing was printed'), ...more] = await told<T>(...words);
    expect(more).to.deep.equal([]);
    return only;
  }

  async function shown(...words: string[]): Promise<string> {
    const { code, stdout, stderr } = await troupe(...words);
    expect(code, stderr).to.equal(0);
    return stdout;
  }

  it('shows the stores, says where they are and how fast they may be filled', async () => {
    await eventually('the region is known', async () => {
      const stores = await told<StoreInfo>('store', 'list');
      expect(stores.map(({ id, node }) => [id, node])).to.deep.equal([
        [1, 'store-1'],
        [2, 'store-2'],
        [3, 'store-3'],
      ]);
      const led = stores.reduce((sum, { leaders }) => sum + leaders, 0);
      return led === 1 && stores.every(({ state, capacity }) => state === 'Up' && capacity > 0)
        ? true
        : undefined;
    });
    expect(await shown('store', 'list')).to.match(/^store +node +pid +state .*\n1 +store-1 /);
    const labelled = await one<StoreInfo>('store', 'label', '2', 'zone=east', 'rack=r-7');
    expect(labelled.labels).to.deep.equal({ zone: 'east', rack: 'r-7' });
    const moved = await one<StoreInfo>('store', 'label', '2', 'zone=west', '--remove', 'rack');
    expect(moved.labels).to.deep.equal({ zone: 'west' });
    expect(await one<StoreInfo>('store', 'limit', '2', '60')).to.include({ limit: 60, ownLimit: true });
    expect(await one<StoreInfo>('store', 'limit', '2', '--default')).to.include({
      limit: 15,
      ownLimit: false,
    });
    expect(await shown('store', 'show', '2')).to.match(/^state +Up$[\s\S]*^labels +zone=west$/m);
  });

  it('steers the schedulers of placement', async () => {
    type Listed = { state: string; schedulers: { name: string; limit: number; paused: boolean }[] };
    const names = ({ schedulers }: Listed) => schedulers.map(({ name }) => name);
    const before = await one<Listed>('scheduler', 'list');
    expect(before.state).to.equal('halted');
    expect(names(before)).to.deep.equal(['balance-region', 'balance-leader', 'hot-region']);
    await one('scheduler', 'add', 'balance-region', '--limit', '4');
    const paused = await one<Listed>('scheduler', 'pause', 'balance-region', '--for', '10m');
    expect(paused.schedulers[0]).to.include({ name: 'balance-region', limit: 4, paused: true });
    expect(await shown('scheduler', 'pause', 'hot-region')).to.match(
      /hot-region +paused until it is resumed/,
    );
    const resumed = await one<Listed>('scheduler', 'resume', 'balance-region');
    expect(resumed.schedulers[0]).to.include({ limit: 4, paused: false });
    expect(names(await one('scheduler', 'add', 'evict-leader-3'))).to.include('evict-leader-3');
    expect(names(await one('scheduler', 'remove', 'evict-leader-3'))).not.to.include('evict-leader-3');
  });

  it('shows and changes settings', async () => {
    const all = await one<Record<string, string>>('scheduler', 'config');
    expect(all).to.include({ 'max-replicas': '3', 'halt-scheduling': 'true', 'max-store-down-time': '30m' });
    expect(await one('scheduler', 'config', 'split-merge-interval', '5m')).to.deep.equal({
      'split-merge-interval': '5m',
    });
    expect(await shown('scheduler', 'config', 'split-merge-interval')).to.match(
      /\nsplit-merge-interval +5m\n/,
    );
  });

  it('adds, shows and cancels operators', async () => {
    const region = await eventually('the region has a leader', async () => {
      const [first] = await told<PlacedRegionInfo>('region', 'list');
      return first?.leader == null ? undefined : first;
    });
    // It may be gone before its removal is cancelled. Store 1 keeps its voter: what is wrong below counts on that.
    const follower =
      region.peers.find(({ store }) => store !== region.leader && store !== 1) ?? expect.fail('it is alone');
    const words = [String(region.id), String(follower.store)];
    const removing = await one<OperatorInfo>('operator', 'add', 'remove-peer', ...words);
    expect(removing).to.include({ region: region.id, kind: 'admin', by: 'admin' });
    expect(removing.steps).to.have.length.greaterThan(0);
    await troupe('operator', 'cancel', String(region.id));
    const ended = await told<OperatorInfo>('operator', 'list', '--ended');
    expect(ended.map((operator) => operator.region)).to.include(region.id);
    expect(await shown('operator', 'list', '--ended')).to.match(
      /^region +kind +by +state +step +age +what\n/,
    );
  });

  it('finds regions by their state, and still compares replicas', async () => {
    expect(await shown('region', 'hot')).to.equal('');
    expect(await told('region', 'check', 'large')).to.deep.equal([]);
    expect(await shown('region', 'check')).to.match(/^region +index +store +peer +replica +hash\n/);
  });

  const wrong: readonly (readonly [words: string, code: number, sentence: RegExp])[] = [
    ['store lst --json', 2, /unknown command 'lst' \(Did you mean list\?\)/],
    ['store show 4711', 3, /no store 4711: `troupe store list` shows/],
    ['store offline 4711', 3, /no store 4711/],
    [
      'store offline 1',
      4,
      /Store 1 cannot be taken offline: 2 stores would be left for 3 replicas. Add a store/,
    ],
    ['store label 1 zo/ne=a', 2, /"zo\/ne=a" is no label: key and value have letters/],
    ['store label 1 --remove nothing', 3, /Store 1 has no label "nothing"/],
    ['scheduler add balnce-region', 2, /no scheduler "balnce-region" \(Did you mean balance-region\?\)/],
    ['scheduler add evict-leader-4711', 3, /no store 4711/],
    ['scheduler config constructor', 2, /no setting "constructor": `troupe scheduler config` shows all/],
    ['scheduler config max-replica 5', 2, /no setting "max-replica" \(Did you mean max-replicas\?\)/],
    ['scheduler config max-replicas none', 2, /max-replicas: "none" is not a whole number from 1 to 15/],
    ['operator add split 4711', 3, /no region 4711/],
    ['operator add add-peer 1 4711', 3, /no store 4711/],
    ['operator add add-peer 1 1', 4, /voter on store 1 already/],
    ['operator cancel 4711', 3, /Region 4711 has no operator: `troupe operator list`/],
    ['scale-in 1', 4, /Store 1 cannot be taken offline/],
    ['scale-out --cluster other', 5, /no `troupe up` runs the cluster "other" on nats:/],
  ];
  it('refuses what is mistyped or cannot be, with a sentence and an exit code', async () => {
    const waiting = wrong.values();
    const refuseNext = async () => {
      for (const [words, code, sentence] of waiting) {
        const ended = await troupe(...words.split(' '));
        expect(ended.stderr, words).to.match(sentence);
        expect(ended.code, `${words}: ${ended.stderr}`).to.equal(code);
        expect(ended.stdout, words).to.equal('');
        expect(ended.stderr).not.to.match(/\n {4}at |fault of the program/);
      }
    };
    await Promise.all(Array.from({ length: 5 }, refuseNext));
    const stores = await told<StoreInfo>('store', 'list');
    expect(stores.map(({ state }) => state)).to.deep.equal(['Up', 'Up', 'Up']);
  });

  it('adds a store to a running cluster, drains it, and remembers both', async () => {
    const added = await one<StoreInfo>('scale-out');
    expect(added).to.include({ id: 4, node: 'store-4', state: 'Up' });
    await cluster.printed(/✔ store-4 pid/);
    const gone = await one<StoreInfo>('scale-in', '4', '--timeout', '30s');
    expect(gone).to.include({ id: 4, state: 'Tombstone', regions: 0 });
    await cluster.printed(/store-4 was taken offline and is gone/);
    expect(alive(added.pid)).to.equal(false);
    expect((await told<StoreInfo>('store', 'list')).map(({ id }) => id)).to.deep.equal([1, 2, 3]);
    expect((await told<StoreInfo>('store', 'list', '--all')).map(({ id }) => id)).to.deep.equal([1, 2, 3, 4]);
    const again = await troupe('scale-in', '4');
    expect([again.code, again.stderr]).to.deep.equal([4, 'troupe: store 4 (store-4) is gone already\n']);
    const fifth = await one<StoreInfo>('scale-out');
    expect(fifth).to.include({ id: 5, node: 'store-5' });
    expect(JSON.parse(readFileSync(place.path('data', 'cluster.json'), 'utf8'))).to.include({ stores: 5 });

    cluster.signal('SIGINT');
    await cluster.ended;
    const nobody = await troupe('scale-out');
    expect(nobody.code).to.equal(5);
    expect(nobody.stderr).to.match(/no `troupe up` runs the cluster "demo".*start it with `troupe up`/);
    cluster = await up();
    expect(cluster.stdout)
      .to.match(/^store-5 /m)
      .and.not.match(/^store-4 /m);
    expect(cluster.stderr).not.to.match(/died/);
  });

  it('lets a store go that is gone when the cluster starts', async () => {
    const { pid } = await one<StoreInfo>('store', 'show', '5');
    // It does not hear that it is gone.
    process.kill(pid, 'SIGSTOP');
    const offline = await one<StoreInfo>('store', 'offline', '5', '--timeout', '30s');
    expect(offline).to.include({ id: 5, state: 'Tombstone' });
    const pids = [...cluster.stdout.matchAll(/^(?:scheduler|store)-\d+ +(\d+)/gm)].map((match) =>
      Number(match[1]),
    );
    cluster.signal('SIGKILL');
    process.kill(pid, 'SIGKILL');
    await eventually('no node is left', () => (pids.some(alive) ? undefined : true));
    cluster = await up();
    expect(cluster.stderr).to.match(/store-5 was taken offline and is gone/);
    expect(cluster.stdout).not.to.match(/^store-5 /m);
    expect(cluster.stderr).not.to.match(/died/);
  });
});
