import { expect } from 'chai';
import { assign, setup } from 'xstate';
import type { ActorClient } from '../../cluster/deploy/client.js';
import { deploymentKey } from '../../cluster/deploy/records.js';
import type { Engine } from '../../storage/index.js';
import { hasNatsServer } from '../nats-server.js';
import { skip } from '../skip.js';
import { codeOf, deployable, emptyDisk, HostStage, refusalOf } from './host-stage.js';

const counter = setup({
  types: { context: {} as { n: number }, events: {} as { type: 'add' } },
}).createMachine({
  id: 'counter',
  context: { n: 0 },
  on: { add: { actions: assign({ n: ({ context }) => context.n + 1 }) } },
});

/** Lets a disk's syncs wait. */
class Gate {
  #open: () => void = () => {};
  #closed: Promise<void> | undefined;
  #tellMet: () => void = () => {};
  /** Resolves when somebody waits. */
  met: Promise<void> = Promise.resolve();

  readonly through = (engine: Engine): Engine => {
    const sync = engine.sync.bind(engine);
    engine.sync = async () => {
      this.#tellMet();
      await this.#closed;
      await sync();
    };
    return engine;
  };

  close(): void {
    this.#closed = new Promise((resolve) => {
      this.#open = resolve;
    });
    this.met = new Promise((resolve) => {
      this.#tellMet = resolve;
    });
  }

  open(): void {
    this.#open();
  }
}

describe('what becomes of a deployed name', () => {
  let stage: HostStage;
  let actors: ActorClient;

  before(async function () {
    if (!hasNatsServer()) skip(this, 'nats-server is not installed');
    stage = await HostStage.open();
    actors = stage.actors;
  });
  afterEach(() => stage?.clear());
  after(() => stage?.close());

  const FILE = (n: number): string =>
    `import { createMachine, assign } from 'xstate';
     export const m = createMachine({ id: 'm', context: { n: 0 }, on: { add: { actions: assign({ n: ({ context }) => context.n + ${n} }) } } });`;
  const THROWS = "throw new Error('there is no database');";

  it('puts a machine in the place of another that was handed over, and keeps the state', async () => {
    const host = await stage.start({ takesFiles: true });
    const handed = (source: string, replace: boolean) =>
      actors.deploy(host.node, { name: 'it', file: 'm.mjs', source, fresh: false, replace });
    await handed(FILE(1), false);
    await actors.deliver('it', 'send', { type: 'add' }, '1');
    const refused = await refusalOf(handed(FILE(10), false));
    expect(refused).to.include('conflict').and.to.include('--replace, which keeps its state');
    await handed(FILE(10), true);
    await actors.deliver('it', 'send', { type: 'add' }, '2');
    expect(await codeOf(handed(THROWS, true))).to.equal('failed');
    await actors.deliver('it', 'send', { type: 'add' }, '3');
    expect(await actors.state('it', undefined)).to.deep.include({ context: { n: 21 } });
  });

  const IN = (state: string): string =>
    `import { createMachine, assign } from 'xstate';
     export const m = createMachine({ id: 'm', context: { n: 0 }, initial: '${state}', states: { ${state}: {} },
       on: { add: { actions: assign({ n: ({ context }) => context.n + 1 }) } } });`;

  it('serves the old machine on when the new one cannot begin, after a restart too', async () => {
    const disk = emptyDisk();
    const host = await stage.start({ disk, takesFiles: true });
    const handed = (source: string, replace: boolean, fresh = false) =>
      actors.deploy(host.node, { name: 'it', file: 'm.mjs', source, fresh, replace });
    await handed(IN('on'), false);
    await actors.deliver('it', 'send', { type: 'add' }, '1');
    expect(await codeOf(handed(IN('off'), true))).to.equal('conflict');
    await actors.deliver('it', 'send', { type: 'add' }, '2');
    expect(await codeOf(handed(IN('on'), true, true))).to.equal('invalid-argument');
    await actors.deliver('it', 'send', { type: 'add' }, '3');
    await stage.stop(host);
    await stage.start({ disk, takesFiles: true });
    await actors.deliver('it', 'send', { type: 'add' }, '4');
    expect(await actors.state('it', undefined)).to.deep.include({ context: { n: 4 } });
  });

  it('serves the old machine again when the disk fails as the new one is to be kept', async () => {
    const disk = emptyDisk();
    let fails = false;
    const through = (engine: Engine): Engine => {
      const batch = engine.batch.bind(engine);
      engine.batch = () => {
        const made = batch();
        const put = made.put.bind(made);
        made.put = (family, key, value) => {
          if (fails && Buffer.compare(key, deploymentKey('it')) === 0) disk.failNext('write');
          put(family, key, value);
        };
        return made;
      };
      return engine;
    };
    const host = await stage.start({ disk, takesFiles: true, through });
    const handed = (source: string, replace: boolean) =>
      actors.deploy(host.node, { name: 'it', file: 'm.mjs', source, fresh: false, replace });
    await handed(FILE(1), false);
    await actors.deliver('it', 'send', { type: 'add' }, '1');
    fails = true;
    expect(await codeOf(handed(FILE(10), true))).to.equal('failed');
    await stage.clear();
    disk.crash();
    await stage.start({ disk, takesFiles: true });
    await actors.deliver('it', 'send', { type: 'add' }, '2');
    expect(await actors.state('it', undefined)).to.deep.include({ context: { n: 2 } });
  });

  it('is told at once, and once, to whoever comes while it is being changed', async () => {
    const gate = new Gate();
    const host = await stage.start({ name: 'host-a', takesFiles: true, through: gate.through });
    const handed = (replace: boolean) =>
      actors.deploy(host.node, { name: 'it', file: 'm.mjs', source: FILE(1), fresh: false, replace });
    await handed(false);
    gate.close();
    // They reach the front door together: it is closed by the first.
    const [first, second] = [actors.undeploy('it', false), refusalOf(actors.undeploy('it', true))];
    expect(await second).to.equal('conflict: it is being undeployed: try again in a moment');
    await gate.met;
    expect(await refusalOf(handed(true))).to.equal(
      'conflict: host-a: it is being undeployed: try again in a moment',
    );
    expect(
      await actors.purge('it').then(({ refused }) => refused.map(({ message }) => message)),
    ).to.deep.equal(['host-a: it is being undeployed: try again in a moment']);
    gate.open();
    expect(await first).to.deep.equal({ ok: true, host: 'host-a' });
    await handed(true);
    expect(await actors.state('it', undefined)).to.include({ seq: 2 });
  });

  it('is purged of what it has left, wherever it was deployed', async () => {
    const [b, a] = [await stage.start({ name: 'host-b' }), await stage.start({ name: 'host-a' })];
    for (const host of [b, a]) {
      await host.deploy(deployable('it', counter));
      await actors.deliver('it', 'send', { type: 'add' }, '1');
      await host.undeploy('it', false);
    }
    await b.deploy(deployable('it', counter));
    const { removed, refused } = await actors.purge('it');
    expect(removed).to.deep.equal(['host-a']);
    expect(refused.map(({ code, message }) => `${code}: ${message}`)).to.deep.equal([
      'conflict: host-b: it is deployed: undeploy it with --purge',
    ]);
    await b.undeploy('it', false);
    expect(await actors.purge('it')).to.deep.equal({ removed: ['host-b'], refused: [] });
    expect(await actors.purge('it')).to.deep.equal({ removed: [], refused: [] });
    await b.deploy(deployable('it', counter));
    expect(await actors.state('it', undefined)).to.deep.include({ context: { n: 0 }, seq: 1 });
  });
});
