import { expect } from 'chai';
import type { Browser } from 'playwright-core';
import { TroupeError } from '../../cluster/errors.js';
import { Inspector } from '../../cluster/inspector/server.js';
import { raftItem, regionItem, storeItem, Teller } from '../cluster/inspector-samples.js';
import { skip } from '../skip.js';
import { chromiumPath, launch, Watched } from './browser.js';

const REGIONS = 10_000;
const EVENTS_A_SECOND = 5_000;
const INTERVAL_MS = 100;
/** A page that does not move for so long is frozen to those who look. */
const FROZEN_MS = 500;

describe('the inspector of a large cluster in a browser', () => {
  let browser: Browser;
  let inspector: Inspector;
  let timer: NodeJS.Timeout | undefined;

  before(async function () {
    const chromium = chromiumPath();
    if (chromium === undefined) skip(this, 'chromium is not installed');
    browser = await launch(chromium);
    inspector = await Inspector.start({
      cluster: 'large',
      port: 0,
      database: () => Promise.reject(new TroupeError('unavailable', 'there is none')),
      observe: async (receive) => {
        const told = (batch: object): void => receive(new TextEncoder().encode(JSON.stringify(batch)));
        let announced = false;
        return {
          announce: () => {
            if (announced) return;
            announced = true;
            timer = tellOf(told);
          },
          close: async () => {},
        };
      },
    });
  });
  after(async () => {
    clearInterval(timer);
    await inspector?.close();
    await browser?.close();
  });

  it('scrolls through 10,000 regions at 5,000 events a second without freezing, and says that it samples', async () => {
    const page = await browser.newPage({ viewport: { width: 1280, height: 860 } });
    await page.addInitScript(
      `window.shift = 0; new PerformanceObserver((list) => { for (const one of list.getEntries()) if (!one.hadRecentInput) window.shift += one.value; }).observe({ type: 'layout-shift', buffered: true });`,
    );
    const watched = new Watched(page, inspector.url.replace(/\/$/, ''));
    await watched.go('#/cluster');
    await page.locator('.rate', { hasText: '10,000 regions' }).waitFor({ timeout: 30_000 });
    await page.locator('.sampled', { hasText: 'not shown' }).waitFor();
    await page.evaluate(
      `(() => { let last = performance.now(); window.longest = 0; const look = (now) => { window.longest = Math.max(window.longest, now - last); last = now; requestAnimationFrame(look); }; requestAnimationFrame(look); })()`,
    );
    for (let i = 1; i <= 10; i++) {
      await page.evaluate(`document.querySelector('.rows').scrollTop = ${i * 30_000}`);
      await page.waitForTimeout(300);
    }
    const first = `${Math.floor(300_000 / 34)}`;
    await page.locator('.region .id', { hasText: first }).waitFor();
    expect(await page.locator('.region').count()).to.be.below(120);
    await page.evaluate(`location.hash = '#/actors'`);
    await page.locator('.found li').nth(20).waitFor();
    await page.evaluate(`location.hash = '#/heat'`);
    await page.locator('canvas').waitFor();
    // Layout shift as Chromium reckons it (web.dev/cls): of 1, all that is on the screen moved by all of the screen.
    const shift = await page.evaluate<number>('window.shift');
    expect(shift, `what stood on the page jumped: ${shift}`).to.be.below(0.1);
    const longest = await page.evaluate<number>('window.longest');
    expect(longest, `the page stood still for ${longest} ms`).to.be.below(FROZEN_MS);
    expect(watched.errors).to.deep.equal([]);
  });
});

/** What ten thousand regions and five thousand events a second look like to an inspector. */
function tellOf(told: (batch: object) => void): NodeJS.Timeout {
  const scheduler = new Teller('scheduler-1');
  const stores = [1, 2, 3, 4, 5].map((id) => new Teller(`store-${id}`));
  told(scheduler.state('stores', [1, 2, 3, 4, 5].map(storeItem)));
  for (let at = 1; at <= REGIONS; at += 1000) {
    const ids = Array.from({ length: 1000 }, (_, i) => at + i);
    told(
      scheduler.state(
        'regions',
        ids.map((id) => regionItem(id)),
      ),
    );
    for (const store of stores)
      told(
        store.state(
          'raft',
          ids.map((id) => raftItem(id)),
        ),
      );
  }
  let turn = 0;
  return setInterval(() => {
    turn++;
    const many = (EVENTS_A_SECOND * INTERVAL_MS) / 1000 / stores.length;
    for (const [index, store] of stores.entries()) {
      const records = Array.from({ length: many }, (_, i) => {
        const region = ((turn * many + i) * 13) % REGIONS;
        const path = `region/${region}/peer/${region * 10 + index}`;
        return {
          kind: '@xstate.snapshot',
          at: 0,
          path,
          machine: 'peer',
          event: { type: 'write' },
          snapshot: { value: { active: 'normal' }, status: 'active' },
        } as const;
      });
      told(store.batch(records, Date.now(), { 'page-all': { '@xstate.event': 900 } }));
    }
    const moved = Array.from({ length: 50 }, (_, i) =>
      regionItem(((turn * 50 + i) % REGIONS) + 1, { written: turn * 1000, size: turn }),
    );
    told(scheduler.state('regions', moved));
  }, INTERVAL_MS);
}
