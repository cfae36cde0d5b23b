/** `troupe scheduler list | add | pause | resume | remove | config`. */

import type { Command } from 'commander';
import { didYouMean } from '../../actors/index.js';
import { TroupeError } from '../errors.js';
import type { PlacementAdmin, PlacementInfo } from '../index.js';
import { withDatabase } from './connection.js';
import { commandBelow, nodeGroup } from './node-group.js';
import { connectionSettings, parseCount, parseDuration, withConnection } from './settings.js';
import { type Palette, paletteFor, print, say, table } from './terminal.js';

type Flags = Readonly<Record<string, unknown>> & { readonly json?: boolean };

const KINDS = ['balance-region', 'balance-leader', 'hot-region'];
const KINDS_OF_A_STORE = ['evict-leader', 'grant-leader'];
const NAMES = 'balance-region, balance-leader, hot-region, evict-leader-STORE or grant-leader-STORE';

/** To be called when `troupe scheduler` is there. */
export function addSchedulerCommands(program: Command): void {
  const group = nodeGroup(program, 'scheduler');
  steering(
    commandBelow(group, 'list')
      .summary('show what spreads regions, leaders and load')
      .description(
        'Shows the schedulers of placement, which spread regions, leaders and load over the stores.\n\nExamples:\n  troupe scheduler list\n  troupe scheduler list --json | jq -r .schedulers[].name',
      ),
  ).action((options: Flags) => steer(options, async () => {}));

  steering(
    commandBelow(group, 'add')
      .summary('add a scheduler, or change its limit')
      .description(
        `Adds a scheduler of placement: ${NAMES}. Of one that runs already the limit is changed.\n\nExamples:\n  troupe scheduler add evict-leader-2\n  troupe scheduler add balance-region --limit 4`,
      )
      .argument('<name>', 'the scheduler')
      .option('--limit <operators>', 'operators of its own at once (default: the limits of all)'),
  ).action((name: string, options: Flags & { readonly limit?: string }) => {
    const limit = options.limit === undefined ? 0 : parseCount('--limit', options.limit, 1, 1_000_000);
    return steer(options, (placement) => placement.addScheduler(name, { limit }), name);
  });

  steering(
    commandBelow(group, 'pause')
      .summary('let a scheduler rest')
      .description(
        'Lets a scheduler of placement rest: for a while, or until it is resumed. Its operators go on.\n\nExamples:\n  troupe scheduler pause balance-region --for 10m\n  troupe scheduler pause hot-region',
      )
      .argument('<name>', 'the scheduler')
      .option('--for <duration>', 'for how long, such as 30s, 10m or 2h (default: until it is resumed)'),
  ).action((name: string, options: Flags & { readonly for?: string }) => {
    const until =
      options.for === undefined ? {} : { until: Date.now() + Math.ceil(parseDuration('--for', options.for)) };
    return steer(options, (placement) => placement.pauseScheduler(name, until), name);
  });

  steering(
    commandBelow(group, 'resume')
      .summary('let a scheduler work again')
      .description('Ends the rest of a scheduler.\n\nExamples:\n  troupe scheduler resume balance-region')
      .argument('<name>', 'the scheduler'),
  ).action((name: string, options: Flags) =>
    steer(options, (placement) => placement.resumeScheduler(name), name),
  );

  steering(
    commandBelow(group, 'remove')
      .summary('remove a scheduler')
      .description(
        'Removes a scheduler of placement until it is added again. Its operators go on.\n\nExamples:\n  troupe scheduler remove evict-leader-2',
      )
      .argument('<name>', 'the scheduler'),
  ).action((name: string, options: Flags) =>
    steer(options, (placement) => placement.removeScheduler(name), name),
  );

  steering(
    commandBelow(group, 'config')
      .summary('show or change settings of placement')
      .description(
        'Shows the settings of placement, or one, or changes one.\n\nExamples:\n  troupe scheduler config\n  troupe scheduler config max-replicas 5\n  troupe scheduler config location-labels zone,rack\n  troupe scheduler config halt-scheduling true',
      )
      .argument('[name]', 'the setting')
      .argument('[value]', 'what it is to be'),
  ).action(config);
}

function steering(command: Command): Command {
  return withConnection(command.option('--json', 'print it as JSON'));
}

/** Does the work, and prints the schedulers that there are now. */
async function steer(
  options: Flags,
  work: (placement: PlacementAdmin) => Promise<void>,
  name?: string,
): Promise<void> {
  if (name !== undefined) checkName(name);
  const placement = await withDatabase(connectionSettings(options), async ({ cluster }) => {
    await work(cluster.placement);
    return cluster.placement.read();
  });
  const now = Date.now();
  if (options.json) {
    const { state, schedulers } = placement;
    const told = schedulers.map((one) => ({ ...one, paused: one.pausedUntil > now }));
    print(JSON.stringify({ state, schedulers: told }));
    return;
  }
  print(schedulerPage(placement, now, paletteFor(process.stdout)));
}

/** What placement does, and a row for each scheduler. @param now Unix milliseconds */
export function schedulerPage({ state, schedulers }: PlacementInfo, now: number, palette: Palette): string {
  const rows = schedulers.map(({ name, pausedUntil, limit }) => [
    name,
    pausedUntil > now ? `paused until ${untilText(pausedUntil)}` : 'running',
    limit === 0 ? '-' : String(limit),
  ]);
  return [
    palette.bold(SENTENCES[state]),
    '',
    table([['scheduler', 'state', 'limit'], ...rows], palette),
  ].join('\n');
}

const SENTENCES: Readonly<Record<PlacementInfo['state'], string>> = {
  collecting: 'Placement waits until enough regions have been heard of',
  scheduling: 'Placement keeps replicas up and spreads them',
  halted: 'Placement is halted: nothing is moved or mended until halt-scheduling is false',
};

/** No calendar that people use goes on that long: it is for good. */
const FOR_GOOD = Date.UTC(9999, 0);

function untilText(time: number): string {
  return time >= FOR_GOOD ? 'it is resumed' : new Date(time).toISOString().replace(/\.\d+Z$/, 'Z');
}

/** @throws TroupeError `usage` for the name of no scheduler */
function checkName(name: string): void {
  const [, kind = '', store] = /^(.*?)(?:-(\d+))?$/.exec(name) ?? [];
  if (store === undefined && KINDS.includes(kind)) return;
  if (store !== undefined && KINDS_OF_A_STORE.includes(kind)) return;
  if (store === undefined && KINDS_OF_A_STORE.includes(kind)) {
    throw new TroupeError('usage', `${kind} is for one store: give its id behind it, such as ${kind}-2`);
  }
  const near = didYouMean(kind, [...KINDS, ...KINDS_OF_A_STORE]);
  throw new TroupeError('usage', `there is no scheduler "${name}"${near || `: it is ${NAMES}`}`);
}

/** More replicas than stores are wanted for later; that they are not there now should surprise nobody. */
async function sayWhatIsMissing(placement: PlacementAdmin): Promise<void> {
  const { settings } = await placement.read();
  const wanted = Number(settings['max-replicas']);
  const up = (await placement.stores()).filter(({ state }) => state === 'Up').length;
  if (up < wanted)
    say(
      `only ${up} ${up === 1 ? 'store is' : 'stores are'} up: regions keep ${up} replicas until there are ${wanted}`,
    );
}

async function config(name: string | undefined, value: string | undefined, options: Flags): Promise<void> {
  const settings = await withDatabase(connectionSettings(options), async ({ cluster: { placement } }) => {
    const { settings: before } = await placement.read();
    if (name !== undefined && !Object.hasOwn(before, name)) {
      const near = didYouMean(name, Object.keys(before)) || ': `troupe scheduler config` shows all';
      throw new TroupeError('usage', `there is no setting "${name}"${near}`);
    }
    if (name === undefined || value === undefined) return before;
    await placement.set(name, value);
    if (name === 'max-replicas') await sayWhatIsMissing(placement);
    return (await placement.read()).settings;
  });
  const shown = Object.entries(settings).filter(([one]) => name === undefined || one === name);
  if (options.json) print(JSON.stringify(Object.fromEntries(shown)));
  else
    print(
      table(
        [['setting', 'value'], ...shown.map(([one, is]) => [one, is || '-'])],
        paletteFor(process.stdout),
      ),
    );
}
