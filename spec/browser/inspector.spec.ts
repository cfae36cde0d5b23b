import { symlinkSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import type { Browser } from 'playwright-core';
import { connect, type Database } from '../../cluster/index.js';
import { eventually, type RunningCommand, Workplace } from '../integration/command.js';
import { hasNatsServer, TestNatsServer } from '../nats-server.js';
import { skip } from '../skip.js';
import { accessibilityFaults, chromiumPath, launch, Watched } from './browser.js';

/** "Election timeout" in a target is 20 ticks of 100 ms (design.md section 3). */
const TWO_ELECTION_TIMEOUTS = 4_000;
const KETTLE = `import { createMachine, fromPromise } from 'xstate';
export const kettle = createMachine({
  id: 'kettle',
  initial: 'cold',
  states: {
    cold: { on: { heat: 'filling' } },
    filling: { invoke: { src: fromPromise(async () => 1), onDone: 'hot' } },
    hot: { on: { cool: 'cold' } },
  },
});
`;
const TABS = ['cluster', 'raft', 'actors', 'transactions', 'heat', 'letters'];

describe('the inspector in a browser', () => {
  let place: Workplace;
  let nats: TestNatsServer;
  let up: RunningCommand;
  let db: Database;
  let browser: Browser;
  let origin = '';
  const opened: Watched[] = [];

  before(async function () {
    this.timeout(120_000);
    const chromium = chromiumPath();
    if (chromium === undefined) skip(this, 'chromium is not installed');
    if (!hasNatsServer()) skip(this, 'nats-server is not installed');
    place = new Workplace();
    nats = await TestNatsServer.start();
    up = place.start(['up', '--nats', nats.url, '--ui-port', '0']);
    await up.printed(/Ctrl-C stops the cluster/);
    origin = /See it live: (http:\/\/127\.0\.0\.1:\d+)\//.exec(up.stdout)?.[1] ?? '';
    db = await connect({ servers: nats.url, cluster: 'demo' });
    browser = await launch(chromium);
  });
  after(async () => {
    await browser?.close();
    await db?.close();
    await place?.close();
    await nats?.stop();
  });

  async function open(
    hash: string,
    { width = 1280, height = 860, scheme = 'light' as 'light' | 'dark' } = {},
  ): Promise<Watched> {
    const page = await browser.newPage({ viewport: { width, height }, colorScheme: scheme });
    const watched = new Watched(page, origin);
    opened.push(watched);
    await watched.go(hash);
    return watched;
  }

  /** The address of the peer that leads the region of a stored key. */
  async function leadingPeer(key: string): Promise<string> {
    return eventually(`a leader at ${key}`, async () => {
      const { regions, stores } = await db.cluster.status();
      const region = regions.find(({ start, end }) => start <= key && (end === '' || key < end));
      const peer = region?.peers.find(({ store }) => store === region.leader);
      const node = stores.find(({ id }) => id === peer?.store)?.node;
      return node && `${node}/region/${region?.id}/peer/${peer?.id}`;
    });
  }

  afterEach(async () => {
    for (const { page } of opened) await page.close();
    const seen = opened.splice(0);
    expect(seen.flatMap(({ errors }) => errors)).to.deep.equal([]);
    expect(seen.flatMap(({ strangers }) => strangers)).to.deep.equal([]);
  });

  it('draws a split that is asked for on the page', async () => {
    for (let i = 0; i < 30; i++) await db.raw.put(`key-${i}`, 'v');
    const { page } = await open('#/cluster');
    const rows = page.locator('.region');
    await rows.first().waitFor();
    expect(await rows.count()).to.equal(1);
    await page.getByRole('button', { name: 'Steer region 1' }).click();
    await page.locator('#split-key').fill('key-2');
    await page.locator('#split-key').press('Enter');
    // Nothing is done before the question is answered.
    expect(await page.locator('#dialog-title').textContent()).to.match(
      /Split region 1 at the raw key “key-2”\?/,
    );
    await page.locator('[data-confirm]').click();
    await page.locator('.region .range', { hasText: 'raw key-2 … +∞' }).waitFor({ timeout: 10_000 });
    expect(await rows.count()).to.equal(2);
    await page.locator('.cell.leader').nth(1).waitFor();
    await page.locator('.moments li', { hasText: 'region 1 split at key-2 (raw)' }).waitFor();
    // The view's own key is no other view, and a hash that is none is corrected.
    await page.keyboard.press('1');
    await page.evaluate(`location.hash = '#/nonsense'`);
    await page.waitForURL(/#\/cluster$/);
    await rows.nth(1).waitFor();
  });

  it('follows a transaction across regions', async () => {
    await db.cluster.splitRegion('m', { space: 'txn' });
    const { page } = await open('#/transactions');
    await page.locator('.node').nth(3).waitFor();
    await db.transaction(async (txn) => {
      txn.put('ada', '1');
      txn.put('zoe', '2');
    });
    await page.locator('.found a').first().click();
    await page.locator('.lane').nth(1).waitFor();
    expect(await page.locator('.lane').count()).to.equal(2);
    await page.locator('.facts', { hasText: 'committed' }).waitFor();
    const asked = await page.locator('tbody tr td:nth-child(4)').allTextContents();
    expect(asked.some((what) => what.startsWith('prewrite'))).to.equal(true);
    expect(asked).to.include('commit');
  });

  it("shows an actor's live chart, and goes back in time with the keyboard", async () => {
    const { page } = await open('#/actors');
    await page.keyboard.press('/');
    const busy = await leadingPeer('rkey-1');
    await page.keyboard.type(busy);
    await page.locator('#results a', { hasText: busy }).first().waitFor();
    await page.keyboard.press('Enter');
    await page.locator('.found [aria-current]', { hasText: busy }).waitFor();
    await page.locator('.chart [data-state="peer.active.normal"].active').waitFor({ timeout: 60_000 });
    expect(decodeURIComponent(page.url())).to.include(busy);
    const events = page.locator('.events li');
    for (let i = 0; (await events.count()) < 3; i++) await db.raw.put('key-1', `v${i}`);
    await page.locator('h2', { hasText: 'peer' }).click();
    await page.keyboard.press('ArrowLeft');
    await page.getByRole('button', { name: 'Back to live' }).waitFor();
    await page.keyboard.press('l');
    await page.getByRole('button', { name: 'Live', exact: true }).waitFor();
    await page.keyboard.press('2');
    await page.locator('.members').waitFor();
  });

  it("shows a user's deployed machine, drawn from its own definition", async () => {
    const file = place.path('kettle.mjs');
    const modules = fileURLToPath(new URL('../../../node_modules', import.meta.url));
    symlinkSync(modules, place.path('node_modules'), 'junction');
    writeFileSync(file, KETTLE);
    const host = place.start(['deploy', file, '--name', 'kettle', '--nats', nats.url]);
    await host.printed(/is served by/);
    const { page } = await open('#/actors');
    await page.keyboard.press('/');
    await page.keyboard.type('kettle');
    await page.locator('#results a', { hasText: 'deployed/kettle' }).waitFor();
    await page.keyboard.press('Enter');
    await page.locator('.chart [data-state="kettle.cold"].active').waitFor({ timeout: 30_000 });
    const sent = await place.run(['send', 'kettle', '{"type":"heat"}', '--nats', nats.url]);
    expect(sent).to.include({ code: 0 });
    await page.locator('.chart [data-state="kettle.hot"].active').waitFor({ timeout: 10_000 });
    await page.locator('.events li', { hasText: 'heat' }).first().waitFor();
    // The promise that it has invoked tells too, and is not the kettle itself.
    await page.locator('.events .of-child', { hasText: 'resolved' }).waitFor();
    await page.locator('.facts', { hasText: /^kettle\s+·\s+hot/ }).waitFor();
    await page.locator('.chart [data-state="kettle.hot"].active').waitFor();
    host.signal('SIGINT');
    await host.ended;
  });

  it('shows the new leader within two election timeouts when the old one is killed from the page', async () => {
    const raft = await open('#/raft/1');
    const steering = await open('#/cluster');
    const leader = raft.page.locator('.member[data-role="leader"]');
    await leader.locator('[data-state="raft.leader"].active').waitFor({ timeout: 60_000 });
    const node = (await leader.getAttribute('data-node')) ?? '';
    const termOf = (text: string | null) => Number(/term (\d+)/.exec(text ?? '')?.[1]);
    const before = termOf(await leader.textContent());
    await steering.page.getByRole('button', { name: `Kill ${node}`, exact: true }).click();
    expect(await steering.page.locator('#dialog-title').textContent()).to.contain(node);
    const killedAt = Date.now();
    await steering.page.locator('[data-confirm]').click();
    // The killed one is started again at once, and may win.
    const shown = raft.page.locator('.member[data-role="leader"]', {
      has: raft.page.locator('[data-state="raft.leader"].active'),
    });
    await eventually('a leader of a later term', async () => {
      const terms = (await shown.allTextContents()).map(termOf);
      return terms.some((term) => term > before) || undefined;
    });
    const took = Date.now() - killedAt;
    expect(took, `the new leader showed after ${took} ms`).to.be.below(TWO_ELECTION_TIMEOUTS);
    await steering.page.locator('.toast.done', { hasText: node }).waitFor();
  });

  it('is usable by everybody, in both widths and both schemes: no serious fault, nothing beyond the edge', async function () {
    this.timeout(120_000);
    const faults: string[] = [];
    for (const [width, scheme] of [
      [1280, 'light'],
      [1280, 'dark'],
      [390, 'light'],
      [390, 'dark'],
    ] as const) {
      const { page } = await open('#/cluster', { width, height: 844, scheme });
      for (const tab of TABS) {
        await page.evaluate(`location.hash = '#/${tab}'`);
        await page.locator(`#tabs a[href="#/${tab}"][aria-current="page"]`).waitFor();
        await page.locator('.node').first().waitFor();
        for (const fault of await accessibilityFaults(page))
          faults.push(`${tab} ${width} ${scheme}: ${fault}`);
        const beyond = await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth');
        if (beyond > 0) faults.push(`${tab} ${width}: ${beyond} pixels beyond the edge`);
      }
      await page.close();
    }
    expect(faults).to.deep.equal([]);
  });

  it('keeps strangers out: other names, other pages, other methods', async () => {
    const status = async (path: string, init: RequestInit & { host?: string } = {}): Promise<number> => {
      const { request } = await import('node:http');
      const { host, method = 'GET', headers } = init;
      return new Promise((resolve, reject) => {
        const sent = request(
          `${origin}${path}`,
          {
            method,
            headers: { ...(headers as Record<string, string>), ...(host === undefined ? {} : { host }) },
          },
          (answer) => {
            answer.resume();
            resolve(answer.statusCode ?? 0);
          },
        );
        sent.on('error', reject);
        sent.end(method === 'POST' ? '{"action":"kill","node":"store-1"}' : undefined);
      });
    };
    const json = { 'content-type': 'application/json' };
    expect(await status('/')).to.equal(200);
    expect(await status('/', { host: 'evil.example' })).to.equal(403);
    expect(
      await status('/api/steer', { method: 'POST', headers: { ...json, origin: 'http://evil.example' } }),
    ).to.equal(403);
    expect(
      await status('/api/steer', { method: 'POST', headers: { ...json, 'sec-fetch-site': 'cross-site' } }),
    ).to.equal(403);
    expect(
      await status('/api/steer', { method: 'POST', headers: { 'content-type': 'text/plain' } }),
    ).to.equal(415);
    expect(await status('/api/steer')).to.equal(405);
    expect(await status('/', { method: 'DELETE' })).to.equal(405);
    expect(await status('/../package.json')).to.equal(404);
  });
});
