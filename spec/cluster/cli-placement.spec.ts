import { expect } from 'chai';
import { didYouMean } from '../../actors/index.js';
import { operatorTable } from '../../cluster/cli/operator-command.js';
import { createProgram } from '../../cluster/cli/program.js';
import { hotTable } from '../../cluster/cli/region-states-command.js';
import { schedulerPage } from '../../cluster/cli/scheduler-command.js';
import { storePage, storeTable } from '../../cluster/cli/store-table.js';
import { paletteFor } from '../../cluster/cli/terminal.js';
import { PAUSED_FOR_GOOD, type PlacedRegionInfo, type StoreInfo } from '../../cluster/index.js';

const STORE: StoreInfo = {
  id: 2,
  node: 'store-2',
  pid: 4711,
  state: 'Up',
  labels: { zone: 'east', rack: 'r7' },
  limit: 60,
  ownLimit: true,
  capacity: 4 * 2 ** 30,
  available: 3 * 2 ** 30,
  used: 1536,
  regions: 1200,
  leaders: 400,
  pending: 1,
};

describe('troupe store, scheduler and operator', () => {
  const palette = paletteFor({}, {});
  /** Rows as words. */
  const rows = (text: string): string[][] => text.split('\n').map((line) => line.split(/ {2,}/));

  it('prints a row for each store, and nothing of what it has not told', () => {
    const silent = { ...STORE, id: 3, pid: 0, labels: {}, limit: 15, ownLimit: false, capacity: 0, used: 0 };
    const [heading, first, second] = rows(storeTable([STORE, silent], palette));
    expect(heading?.slice(0, 7).join(' ')).to.equal('store node pid state regions leaders pending');
    expect(first?.slice(4)).to.deep.equal([
      ...['1,200', '400', '1', '1.5 KiB', '3.0 GiB', '4.0 GiB', '60/min', 'zone=east rack=r7'],
    ]);
    expect(second?.slice(7)).to.deep.equal(['-', '-', '-', '15/min (default)', '-']);
    expect(second?.[2]).to.equal('-');
  });

  it('prints one store with a line for each thing, and for each label', () => {
    const lines = storePage(STORE, palette).split('\n');
    expect(lines[0]).to.equal('store      2');
    expect(lines.slice(-2)).to.deep.equal(['labels     zone=east', '           rack=r7']);
  });

  it('says how long a scheduler rests, and what halts all', () => {
    const now = Date.UTC(2026, 0, 1);
    const schedulers = [
      { name: 'balance-region', pausedUntil: now + 60_000, limit: 4 },
      { name: 'balance-leader', pausedUntil: PAUSED_FOR_GOOD, limit: 0 },
      { name: 'hot-region', pausedUntil: now - 1, limit: 0 },
    ];
    const page = schedulerPage(
      { state: 'halted', schedulers, settings: {}, storeLimits: new Map() },
      now,
      palette,
    );
    expect(page).to.match(/^Placement is halted/);
    expect(rows(page).slice(3)).to.deep.equal([
      ['balance-region', 'paused until 2026-01-01T00:01:00Z', '4'],
      ['balance-leader', 'paused until it is resumed', '-'],
      ['hot-region', 'running', '-'],
    ]);
  });

  it('says which step an operator is at, and why it ended', () => {
    const operator = {
      region: 7,
      kind: 'region',
      by: 'balance-region',
      steps: ['one', 'two'],
      endedAgoMs: 0,
    };
    const text = operatorTable(
      [
        { ...operator, state: 'running', step: 1, ageMs: 1500, reason: '' },
        { ...operator, state: 'success', step: 2, ageMs: 1500, reason: '' },
        { ...operator, state: 'cancelled', step: 0, ageMs: 1500, reason: 'somebody cancelled it' },
      ],
      palette,
    );
    expect(rows(text).slice(1)).to.deep.equal([
      ['7', 'region', 'balance-region', 'running', '2/2', '1.5 s', 'two'],
      ['7', 'region', 'balance-region', 'success', '2/2', '1.5 s', 'done'],
      ['7', 'region', 'balance-region', 'cancelled', '1/2', '1.5 s', 'somebody cancelled it'],
    ]);
  });

  it('shows the hottest region first', () => {
    const hot = (id: number, bytesWritten: number): PlacedRegionInfo => ({
      ...{ id, start: '', end: '', epoch: { confVer: 1, version: 1 }, peers: [], leader: 1 },
      ...{ approximateSize: 0, approximateKeys: 0 },
      ...{ replication: 'whole', leadership: 'led', size: 'fitting', load: 'hot', operator: 'none' },
      flow: { bytesWritten, keysWritten: 10, bytesRead: 0, keysRead: 0 },
    });
    const text = hotTable([hot(1, 2 ** 20), hot(2, 2 ** 21)], palette);
    expect(rows(text).slice(1)).to.deep.equal([
      ['2', '1', '2.0 MiB', '10', '0 B', '0'],
      ['1', '1', '1.0 MiB', '10', '0 B', '0'],
    ]);
  });

  it('suggests the nearest word, and none that is far', () => {
    const words = ['max-replicas', 'store-limit', 'hot-read-rate'];
    expect(didYouMean('max-replica', words)).to.equal(' (Did you mean max-replicas?)');
    expect(didYouMean('sotre-limit', words)).to.equal(' (Did you mean store-limit?)');
    expect(didYouMean('zebra', words)).to.equal('');
    expect(didYouMean('x'.repeat(1_000_000), words)).to.equal('');
  });

  const refused: readonly (readonly [words: string, sentence: RegExp])[] = [
    ['store', /required option '--name <name>' not specified/],
    ['store --name x', /required option '--data <dir>' not specified/],
    ['store lst', /unknown command 'lst' \(Did you mean list\?\)/],
    ['store lst --json', /unknown command 'lst' \(Did you mean list\?\)/],
    ['store --nmae x', /unknown option '--nmae' \(Did you mean --name\?\)/],
    ['store list --name x', /unknown option '--name'/],
    ['store list extra', /too many arguments/],
    ['store repair', /required option '--name <name>' not specified/],
    ['store repair --name a.b --data x', /"a\.b" is not a node name/],
    ['store --name a.b --data x repair', /"a\.b" is not a node name/],
    ['store show', /missing required argument 'id'/],
    ['store offline x', /store: "x" is not a whole number/],
    ['store offline 1 --cancle', /unknown option '--cancle'.*Did you mean --cancel/s],
    ['store label 1', /say which labels: key=value, or --remove KEY/],
    ['store label 1 zone', /"zone" is no label: give key=value/],
    ['store label 1 =east', /"=east" is no label/],
    ['store label 1 a=b a=c', /a label is named twice/],
    ['store label 1 a=b --remove a', /a cannot be both set and removed/],
    ['store limit 1', /give peers a minute, or --default$/],
    ['store limit 1 5 --default', /give peers a minute, or --default, not both/],
    ['store limit 1 many', /peers-per-minute: "many" is not a whole number/],
    ['scheduler', /required option '--name <name>' not specified/],
    ['scheduler lits', /unknown command 'lits' \(Did you mean list\?\)/],
    ['scheduler add', /missing required argument 'name'/],
    ['scheduler add balnce-region', /no scheduler "balnce-region" \(Did you mean balance-region\?\)/],
    ['scheduler add zebra', /no scheduler "zebra": it is balance-region, .* or grant-leader-STORE/],
    ['scheduler add evict-leader', /give its id behind it, such as evict-leader-2/],
    ['scheduler add balance-region-2', /no scheduler "balance-region-2"/],
    ['scheduler add hot-region --limit 0', /--limit: "0" is not a whole number/],
    ['scheduler pause hot-region --for ten', /--for: "ten" is not a duration/],
    ['scheduler config a b c', /too many arguments/],
    ['operator lits', /unknown command 'lits'.*Did you mean list/s],
    ['operator add mrege 1 2', /unknown command 'mrege'.*Did you mean merge/s],
    ['operator add move-peer 1 2', /missing required argument 'to'/],
    ['operator add split one', /region: "one" is not a whole number/],
    ['operator add scatter', /missing required argument 'regions'/],
    ['operator add scatter 1 0', /regions: "0" is not a whole number/],
    ['operator cancel', /missing required argument 'region'/],
    ['region check misssing', /neither a region nor a state \(Did you mean missing\?\)/],
    ['region check zebra', /neither a region nor a state: a region's id, or one of joint,/],
    ['region check 1x', /region: "1x" is not a whole number/],
    ['region hto', /unknown command 'hto'.*Did you mean hot/s],
    ['scale-uot', /unknown command 'scale-uot'.*Did you mean scale-out/s],
    ['scale-in', /missing required argument 'id'/],
    ['scale-in store-4', /store: "store-4" is not a whole number/],
  ];
  for (const [words, sentence] of refused) {
    it(`refuses "${words}" with a sentence`, async () => {
      const program = await createProgram();
      const error = await program.parseAsync(words.split(' '), { from: 'user' }).then(
        () => undefined,
        (cause: unknown) => cause,
      );
      expect(error).to.be.instanceOf(Error);
      expect((error as Error).message).to.match(sentence);
    });
  }
});
