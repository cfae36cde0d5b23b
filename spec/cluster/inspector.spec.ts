import { request } from 'node:http';
import { expect } from 'chai';
import { TroupeError } from '../../cluster/errors.js';
import type { Database } from '../../cluster/index.js';
import { ChartPictures } from '../../cluster/inspector/chart-pictures.js';
import { ClusterModel } from '../../cluster/inspector/model.js';
import { Inspector } from '../../cluster/inspector/server.js';
import { steer } from '../../cluster/inspector/steering.js';
import { readQuery, Views } from '../../cluster/inspector/views.js';
import { raftItem, regionItem, storeItem, Teller } from './inspector-samples.js';

/** A view of a model, as the page gets it. */
function viewOf(model: ClusterModel, query: string): Record<string, unknown> {
  const views = new Views(model, new ChartPictures(), () => 1_000);
  return JSON.parse(JSON.stringify(views.of(readQuery(new URLSearchParams(query)))));
}

function modelOf(regions: number): ClusterModel {
  const model = new ClusterModel(() => 1_000);
  const scheduler = new Teller('scheduler-1');
  model.take(scheduler.state('stores', [1, 2, 3, 4, 5].map(storeItem)));
  // Out of order, as a map of a scheduler may be.
  const ids = Array.from({ length: regions }, (_, i) => ((i * 7919) % regions) + 1);
  for (let at = 0; at < regions; at += 1000)
    model.take(
      scheduler.state(
        'regions',
        ids.slice(at, at + 1000).map((id) => regionItem(id)),
      ),
    );
  return model;
}

describe('what the inspector makes of what it is told', () => {
  it('sends a screen, not the cluster: 10,000 regions', () => {
    const model = modelOf(10_000);
    const from = performance.now();
    const view = viewOf(model, 'view=cluster&offset=5000&limit=60');
    const took = performance.now() - from;
    expect(view.total).to.equal(10_000);
    expect((view.regions as { id: number }[]).map(({ id }) => id)).to.deep.equal(
      Array.from({ length: 60 }, (_, i) => 5001 + i),
    );
    expect((view.strip as unknown[]).length).to.be.at.most(240);
    expect(JSON.stringify(view).length).to.be.below(60_000);
    expect(took).to.be.below(1_000);
    expect(viewOf(model, 'view=cluster&limit=100000').regions).to.have.length(200);
  });

  it('finds a region by its id, by a key in it, and by what is wrong with it', () => {
    const model = modelOf(100);
    model.take(
      new Teller('scheduler-1').state('regions', [regionItem(7, { state: { replication: 'missing' } })]),
    );
    const found = (search: string): number[] =>
      (
        viewOf(model, new URLSearchParams({ view: 'cluster', search }).toString()).regions as { id: number }[]
      ).map(({ id }) => id);
    expect(found('42')).to.deep.equal([42]);
    expect(found('region 42')).to.deep.equal([42]);
    expect(found('00000042x')).to.deep.equal([42]);
    expect(found('missing')).to.deep.equal([7]);
    expect(found('nothing like it')).to.have.length.of.at.most(1);
  });

  it('keeps the members of a group apart, with when they were what', () => {
    const model = modelOf(3);
    const [one, two] = [new Teller('store-1'), new Teller('store-2')];
    model.take(one.state('raft', [raftItem(1, { role: 'leader', peer: 10, term: 6 })]));
    model.take(two.state('raft', [raftItem(1, { peer: 11, term: 6 })]));
    model.take(two.state('raft', [raftItem(1, { peer: 11, role: 'candidate', term: 7 })]));
    model.take(two.state('raft', [raftItem(1, { peer: 11, role: 'leader', term: 7 })]));
    model.take(two.state('raft', [raftItem(1, { peer: 11, role: 'leader', term: 7, commit: 9 })]));
    const members = viewOf(model, 'view=raft&region=1').members as {
      node: string;
      history: { term: number; role: string }[];
      active: string[];
    }[];
    expect(members.map(({ node }) => node).sort()).to.deep.equal(['store-1', 'store-2']);
    const second = members.find(({ node }) => node === 'store-2');
    expect(second?.history.map(({ term, role }) => `${term} ${role}`)).to.deep.equal([
      '6 follower',
      '7 candidate',
      '7 leader',
    ]);
    expect(second?.active).to.include('raft.leader');
    // Another life of the node: what it was is not so any more.
    model.take(new Teller('store-2', 2).batch([]));
    expect(viewOf(model, 'view=raft&region=1').members).to.have.length(1);
  });

  it('lists actors by name, numbers in it by their value, whenever they came', () => {
    const model = new ClusterModel(() => 1_000);
    const [ten, two] = [new Teller('store-10'), new Teller('store-2')];
    const actor = (path: string): object => ({ path, status: 'active', queued: 0, restarts: 0 });
    const listed = (query = ''): string[] =>
      (viewOf(model, `view=actors&${query}`).actors as { address: string }[]).map(({ address }) => address);
    model.take(ten.state('actors', ['b', 'a'].map(actor)));
    model.take(two.state('actors', ['c/10', 'c/9'].map(actor)));
    expect(listed()).to.deep.equal(['store-2/c/9', 'store-2/c/10', 'store-10/a', 'store-10/b']);
    model.take(two.state('actors', [actor('b')], ['c/9']));
    expect(listed()).to.deep.equal(['store-2/b', 'store-2/c/10', 'store-10/a', 'store-10/b']);
    expect(listed('offset=1&limit=2')).to.deep.equal(['store-2/c/10', 'store-10/a']);
    const { selected } = viewOf(model, 'view=actors&address=store-10/b&limit=1');
    expect(selected).to.deep.include({ place: 3, known: true });
    // One that comes again under the same name is one, and not two.
    model.take(two.state('actors', [], ['b']));
    model.take(two.state('actors', [actor('b')]));
    expect(listed('search=STORE-2')).to.deep.equal(['store-2/b', 'store-2/c/10']);
  });

  it("keeps an actor's steps apart from those of what it has invoked", () => {
    const model = new ClusterModel(() => 1_000);
    const node = new Teller('node');
    const trace = model.trace('node/door');
    const of = (child?: string) => ({
      at: 0,
      path: 'door',
      ...(child === undefined ? { machine: 'door' } : { child }),
    });
    const active = (value?: string) => ({ value, status: 'active' });
    model.take(
      node.batch([
        { kind: '@xstate.actor', ...of('bell'), snapshot: active('silent') },
        { kind: '@xstate.actor', ...of(), snapshot: active('closed') },
        // The child's records stand between those of the actor's own step.
        { kind: '@xstate.action', ...of(), action: { type: 'ring' } },
        { kind: '@xstate.actor', ...of('0.door.fetching') },
        {
          kind: '@xstate.snapshot',
          ...of('0.door.fetching'),
          event: { type: 'xstate.init' },
          snapshot: active(),
        },
        { kind: '@xstate.snapshot', ...of(), event: { type: 'fetch' }, snapshot: active('fetching') },
        {
          kind: '@xstate.snapshot',
          ...of('0.door.fetching'),
          event: { type: 'xstate.promise.resolve' },
          snapshot: { value: undefined, status: 'done' },
        },
      ]),
    );
    expect(
      trace.steps.map(({ child, event, value, actions }) => [child, event, value, actions]),
    ).to.deep.equal([
      [undefined, 'begin to look', 'closed', []],
      ['0.door.fetching', 'xstate.init', undefined, []],
      [undefined, 'fetch', 'fetching', ['ring']],
      ['0.door.fetching', 'xstate.promise.resolve', undefined, []],
    ]);
    expect(trace.machine).to.equal('door');
  });

  it('says that there is no such region, and no such actor, once it can know', () => {
    const empty = new ClusterModel(() => 1_000);
    expect(viewOf(empty, 'view=raft&region=99')).to.include({ missing: false });
    expect(viewOf(modelOf(3), 'view=raft&region=99')).to.include({ missing: true });
    expect(viewOf(modelOf(3), 'view=raft&region=2')).to.include({ missing: false });
    expect(viewOf(modelOf(3), 'view=actors&address=nope').selected).to.include({ known: false, place: -1 });
  });

  it('puts a transaction together from what its regions were asked', () => {
    const model = modelOf(3);
    const note = (at: number, detail: object) =>
      ({
        kind: 'note',
        at,
        topic: 'txn',
        detail: {
          startTs: '77',
          region: 1,
          what: 'prewrite',
          keys: 1,
          key: 'a',
          primary: true,
          commitTs: '',
          outcome: 'ok',
          ...detail,
        },
      }) as const;
    const [one, two] = [new Teller('store-1'), new Teller('store-2')];
    model.take(one.batch([note(0, {})]));
    model.take(two.batch([note(5, { region: 2, key: 'z', primary: false })]));
    expect(viewOf(model, 'view=transactions&txn=77').selected).to.deep.include({
      outcome: 'under way',
      regions: [1, 2],
    });
    model.take(one.batch([note(9, { what: 'commit', commitTs: '80' })]));
    expect(viewOf(model, 'view=transactions&txn=77').selected).to.deep.include({
      outcome: 'committed',
      began: 1000,
      last: 1009,
    });
    // What is no note changes nothing.
    model.take(one.batch([{ kind: 'note', at: 0, topic: 'txn', detail: { startTs: 5 } }]));
    expect(viewOf(model, 'view=transactions').total).to.equal(1);
  });

  it('is bounded, whatever nodes tell', () => {
    const model = new ClusterModel(() => 1_000);
    const node = new Teller('store-1');
    model.trace('store-1/a');
    for (let i = 0; i < 3_000; i++) {
      model.take(
        node.batch([
          { kind: 'letter', at: i, reason: 'stopped', from: 'a', to: 'b', event: 'x', detail: '' },
          {
            kind: 'note',
            at: i,
            topic: 'txn',
            detail: {
              startTs: String(i),
              region: 1,
              what: 'prewrite',
              keys: 1,
              key: '',
              primary: true,
              commitTs: '',
              outcome: 'ok',
            },
          },
          {
            kind: '@xstate.snapshot',
            at: i,
            path: 'a',
            machine: 'peer',
            event: { type: 'raft' },
            snapshot: { value: 'x', status: 'active' },
          },
        ]),
      );
    }
    expect(model.letters.all).to.have.length(500);
    expect(model.transactions.size).to.equal(500);
    expect(model.traces.get('store-1/a')?.steps).to.have.length(300);
    expect(model.traces.get('store-1/a')?.length).to.equal(3_000);
    for (let i = 0; i < 100; i++) model.trace(`store-1/${i}`);
    expect(model.traces.size).to.be.at.most(16);
  });
});

describe('what the page may do', () => {
  const wishes: readonly [object, RegExp][] = [
    [{}, /no such action/],
    [{ action: 'split' }, /"region"/],
    [{ action: 'split', region: '1' }, /"region"/],
    [{ action: 'merge', region: 1, source: 1, target: -1 }, /"target"/],
    [{ action: 'transfer', region: 1, store: 1.5 }, /"store"/],
    [{ action: 'pause', scheduler: '' }, /"scheduler"/],
    [{ action: 'kill', node: 'store-1' }, /runs no stores/],
  ];
  it('is checked before it reaches the cluster', async () => {
    const database = async (): Promise<Database> => ({ cluster: {} }) as Database;
    for (const [wish, sentence] of wishes) {
      const error = await steer({ database }, { ...wish }).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      expect(error, JSON.stringify(wish)).to.be.instanceOf(TroupeError);
      expect((error as TroupeError).message).to.match(sentence);
    }
  });
});

describe('the inspector behind a token', () => {
  let inspector: Inspector | undefined;
  afterEach(async () => inspector?.close());

  const start = (host: string, token?: string): Promise<Inspector> =>
    Inspector.start({
      cluster: 'spec',
      observe: async () => ({ announce() {}, close: async () => {} }),
      database: () => Promise.reject(new TroupeError('unavailable', 'there is none')),
      port: 0,
      host,
      ...(token === undefined ? {} : { token }),
    });

  function ask(
    path: string,
    headers: Record<string, string> = {},
  ): Promise<{ status: number; cookie: string }> {
    const { port } = new URL(inspector?.url ?? '');
    return new Promise((resolve, reject) => {
      const sent = request({ host: '127.0.0.1', port, path, headers }, (answer) => {
        answer.resume();
        resolve({ status: answer.statusCode ?? 0, cookie: String(answer.headers['set-cookie']?.[0] ?? '') });
      });
      sent.on('error', reject);
      sent.end();
    });
  }

  it('is not served beyond this machine without one', async () => {
    for (const token of [undefined, '', 'short']) {
      const error = await start('0.0.0.0', token).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      expect(error).to.be.instanceOf(TroupeError).and.include({ code: 'usage' });
    }
  });

  it('lets in who has it, in the address once, as a cookie, or as a bearer', async () => {
    const token = 'a token of some length';
    inspector = await start('0.0.0.0', token);
    expect((await ask('/')).status).to.equal(401);
    expect((await ask('/?token=wrong')).status).to.equal(401);
    expect((await ask('/', { authorization: 'Bearer wrong' })).status).to.equal(401);
    const { status, cookie } = await ask(`/?token=${encodeURIComponent(token)}`);
    expect(status).to.equal(303);
    expect(cookie).to.match(/HttpOnly; SameSite=Strict/);
    expect((await ask('/', { cookie: cookie.split(';')[0] ?? '' })).status).to.equal(200);
    expect((await ask('/', { authorization: `Bearer ${token}` })).status).to.equal(200);
    expect(
      (await ask('/', { authorization: `Bearer ${token}`, origin: 'http://evil.example' })).status,
    ).to.equal(403);
  });

  it('is gone to by a name that can be gone to', async () => {
    inspector = await start('0.0.0.0', 'a token of some length');
    expect(new URL(inspector.url).hostname).to.not.equal('0.0.0.0');
  });

  it('says in one sentence that its port is taken', async () => {
    inspector = await start('127.0.0.1');
    const port = Number(new URL(inspector.url).port);
    const error = await Inspector.start({
      cluster: 'spec',
      observe: async () => ({ announce() {}, close: async () => {} }),
      database: () => Promise.reject(new Error('unused')),
      port,
    }).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).to.be.instanceOf(TroupeError).and.include({ code: 'conflict' });
  });
});
