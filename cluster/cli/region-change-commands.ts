/** `troupe region split | merge | transfer-leader | add-peer | add-learner | promote | remove-peer | move`. */

import type { Command } from 'commander';
import type { KeySpace } from '../../storage/keys.js';
import { TroupeError } from '../errors.js';
import type { ClusterAdmin, RegionChangeOptions, RegionInfo } from '../index.js';
import { withDatabase } from './connection.js';
import { parseBytes, spaceOption } from './kv-bytes.js';
import { regionLines, regionTable } from './region-table.js';
import { connectionSettings, parseCount, withConnection } from './settings.js';
import { paletteFor, print } from './terminal.js';

interface ChangeFlags extends Readonly<Record<string, unknown>> {
  /** False for `--no-wait`. */
  readonly wait: boolean;
  readonly json?: boolean;
}

const WAITS =
  'Waits until the effect shows at the scheduler, at most as long as --timeout says; --no-wait returns as soon as the region’s leader has done it.';

export function addRegionChangeCommands(region: Command): void {
  changing(
    region
      .command('split')
      .summary('split a region')
      .description(
        `Splits a region before each key that is given, or at the middle of its data. The last part keeps the id.\n${WAITS}\n\nExamples:\n  troupe region split 1 --key m\n  troupe region split 1 --key g --key t --space txn\n  troupe region split 1 --half`,
      )
      .argument('<id>', 'the region')
      .option('--key <key>', 'begin a part here; may be given more than once', another)
      .option('--half', 'choose the key: the middle of the data')
      .addOption(spaceOption()),
  ).action(split);

  changing(
    region
      .command('merge')
      .summary('merge a region into its neighbour')
      .description(
        `Merges a region into the one beside it, which takes its keys. Both must have their peers on the same stores. Exit code 4 when it cannot be, or was rolled back.\n${WAITS}\n\nExamples:\n  troupe region merge 17 1`,
      )
      .argument('<source>', 'the region that will be gone')
      .argument('<target>', 'the region that takes its keys'),
  ).action((source: string, target: string, flags: ChangeFlags) => {
    const [from, to] = [parseCount('source', source), parseCount('target', target)];
    return change(flags, (cluster, options) => cluster.mergeRegions(from, to, options));
  });

  for (const { verb, method, summary, about, example } of MEMBERSHIP) {
    changing(
      region
        .command(verb)
        .summary(summary)
        .description(`${about}\n${WAITS}\n\nExamples:\n  troupe region ${verb} ${example}`)
        .argument('<id>', 'the region')
        .argument('<store>', 'the store’s id'),
    ).action((id: string, store: string, flags: ChangeFlags) => {
      const [regionId, storeId] = [parseCount('region', id), parseCount('store', store)];
      return change(flags, (cluster, options) => cluster[method](regionId, storeId, options));
    });
  }

  changing(
    region
      .command('move')
      .summary('move a peer to another store')
      .description(
        `Moves a region’s peer from one store to another: adds a learner, waits until it has caught up, swaps both in one joint change, and removes the old one; a leader hands over first. The region never has fewer voters meanwhile. When it ends before that is done, the same command goes on where it stands: give large regions longer with --timeout.\n--no-wait leaves out the wait behind the last step only.\n\nExamples:\n  troupe region move 17 2 4 --timeout 5m`,
      )
      .argument('<id>', 'the region')
      .argument('<from>', 'id of the store that is left')
      .argument('<to>', 'id of the store that takes its place'),
  ).action((id: string, from: string, to: string, flags: ChangeFlags) => {
    const regionId = parseCount('region', id);
    const [old, fresh] = [parseCount('from', from), parseCount('to', to)];
    return change(flags, (cluster, options) => cluster.movePeer(regionId, old, fresh, options));
  });
}

const MEMBERSHIP = [
  {
    verb: 'transfer-leader',
    method: 'transferLeader',
    summary: 'make another peer the leader',
    about: 'Makes the peer on a store the leader of a region.',
    example: '17 2',
  },
  {
    verb: 'add-peer',
    method: 'addPeer',
    summary: 'add a voter',
    about:
      'Adds a voter on a store. It counts before it has caught up; add-learner and promote are the safer way, and move does it so.',
    example: '17 4',
  },
  {
    verb: 'add-learner',
    method: 'addLearner',
    summary: 'add a peer that does not vote',
    about: 'Adds a learner on a store: a peer that follows, but does not vote.',
    example: '17 4',
  },
  {
    verb: 'promote',
    method: 'promote',
    summary: 'make a voter of a learner',
    about: 'Makes a voter of the learner on a store.',
    example: '17 4',
  },
  {
    verb: 'remove-peer',
    method: 'removePeer',
    summary: 'remove a peer',
    about: 'Removes the peer on a store; a leader hands over first.',
    example: '17 2',
  },
] as const;

function changing(command: Command): Command {
  return withConnection(
    command
      .option('--no-wait', 'do not wait until the effect shows')
      .option('--json', 'print what became of it, a JSON object a region'),
  );
}

/** Collects an option that may come more than once. */
function another(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

interface SplitFlags extends ChangeFlags {
  readonly key?: readonly string[];
  readonly half?: boolean;
  readonly space: KeySpace;
}

async function split(id: string, flags: SplitFlags): Promise<void> {
  const regionId = parseCount('region', id);
  const { key: texts = [], half = false, space } = flags;
  if (half === texts.length > 0) {
    const both = half ? ', not both' : '';
    throw new TroupeError('usage', `say where to split: --key, once or more often, or --half${both}`);
  }
  const keys = texts.map((text) => parseBytes('--key', text));
  await change(flags, (cluster, options) =>
    half
      ? cluster.splitRegionInHalf(regionId, options)
      : cluster.splitRegion(keys, { ...options, space, region: regionId }),
  );
}

/** Does the work, and prints what became of the region. */
async function change(
  flags: ChangeFlags,
  work: (cluster: ClusterAdmin, options: RegionChangeOptions) => Promise<RegionInfo | readonly RegionInfo[]>,
): Promise<void> {
  const result = await withDatabase(connectionSettings(flags), ({ cluster }) =>
    work(cluster, { wait: flags.wait }),
  );
  const regions = [result].flat();
  print(flags.json ? regionLines(regions) : regionTable(regions, paletteFor(process.stdout)));
}
