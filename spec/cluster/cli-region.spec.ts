import { expect } from 'chai';
import { createProgram } from '../../cluster/cli/program.js';
import { regionLines, regionPage, regionTable } from '../../cluster/cli/region-table.js';
import { bytes, paletteFor } from '../../cluster/cli/terminal.js';
import type { RegionInfo } from '../../cluster/index.js';

const PEER = { role: 'voter', pending: false, downSeconds: 0 };
const REGIONS: readonly RegionInfo[] = [
  {
    id: 7,
    start: '',
    end: 'rm\\x00',
    epoch: { confVer: 1, version: 6 },
    peers: [
      { ...PEER, id: 71, store: 1 },
      { ...PEER, id: 72, store: 2, downSeconds: 90 },
      { ...PEER, id: 74, store: 4, role: 'learner', pending: true },
    ],
    leader: 1,
    approximateSize: 96 * 2 ** 20,
    approximateKeys: 1_234_567,
  },
  {
    id: 8,
    start: 'rm\\x00',
    end: '',
    epoch: { confVer: 1, version: 6 },
    peers: [{ ...PEER, id: 81, store: 1 }],
    leader: null,
    approximateSize: 0,
    approximateKeys: 0,
  },
];

describe('troupe region', () => {
  const palette = paletteFor({}, {});
  /** Rows as words. */
  const rows = (text: string): string[][] => text.split('\n').map((line) => line.split(/ {2,}/));

  it('prints a row for each region, with what is not as it should be', () => {
    expect(rows(regionTable(REGIONS, palette))).to.deep.equal([
      ['region', 'start', 'end', 'epoch', 'leader', 'size', 'keys', 'stores'],
      ['7', '(first)', 'rm\\x00', '1/6', '1', '96.0 MiB', '1,234,567', '1 2:down90s 4:learner,pending'],
      ['8', 'rm\\x00', '(last)', '1/6', '-', '-', '-', '1'],
    ]);
  });

  it('prints one region with its peers', () => {
    const [region = expect.fail()] = REGIONS;
    expect(rows(regionPage(region, palette)).slice(3)).to.deep.equal([
      ['store', 'peer', 'role', 'state'],
      ['1', '71', 'voter', 'leader'],
      ['2', '72', 'voter', 'down 90 s'],
      ['4', '74', 'learner', 'pending'],
    ]);
  });

  it('prints JSON as the library gives it', () => {
    expect(
      regionLines(REGIONS)
        .split('\n')
        .map((line) => JSON.parse(line)),
    ).to.deep.equal(REGIONS);
  });

  it('prints sizes in the unit that fits', () => {
    const sizes = [0, 1023, 1536, 2 ** 20 - 1, 5 * 2 ** 30, 3000 * 2 ** 40];
    expect(sizes.map(bytes)).to.deep.equal(['0 B', '1023 B', '1.5 KiB', '1.0 MiB', '5.0 GiB', '3000.0 TiB']);
  });

  const refused: readonly (readonly [words: string, sentence: RegExp])[] = [
    ['lst', /unknown command 'lst'.*Did you mean list/s],
    ['show', /give a region's id, or --key$/m],
    ['show 1 --key a', /give a region's id, or --key, not both/],
    ['show one', /region: "one" is not a whole number/],
    ['show --key a\\q', /--key: "a\\q" has a backslash/],
    ['split 1', /say where to split: --key, once or more often, or --half$/m],
    ['split 1 --half --key a', /--key, once or more often, or --half, not both/],
    ['split --half', /missing required argument 'id'/],
    ['split 1 --key a --space blue', /Allowed choices are raw, txn/],
    ['split 1 --hlaf', /unknown option '--hlaf'.*Did you mean --half/s],
    ['merge 1', /missing required argument 'target'/],
    ['merge 1 x', /target: "x" is not a whole number/],
    ['transfer-leader 1 0', /store: "0" is not a whole number of at least 1/],
    ['add-pear 1 2', /unknown command 'add-pear'.*Did you mean add-peer/s],
    ['add-peer 1 2 3', /too many arguments/],
    ['remove-peer 1 store-2', /store: "store-2" is not a whole number/],
    ['promote 1 2 --no-wiat', /unknown option '--no-wiat'.*Did you mean --no-wait/s],
    ['move 1 2', /missing required argument 'to'/],
    ['move 1 2 x', /to: "x" is not a whole number/],
  ];
  for (const [words, sentence] of refused) {
    it(`refuses "${words}" with a sentence`, async () => {
      const program = await createProgram();
      const error = await program.parseAsync(['region', ...words.split(' ')], { from: 'user' }).then(
        () => undefined,
        (cause: unknown) => cause,
      );
      expect(error).to.be.instanceOf(Error);
      expect((error as Error).message).to.match(sentence);
    });
  }
});
