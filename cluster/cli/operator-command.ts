/** `troupe operator list | add | cancel`. */

import type { Command } from 'commander';
import type { OperatorInfo, OperatorRequest } from '../index.js';
import { withDatabase } from './connection.js';
import { connectionSettings, parseCount, withConnection } from './settings.js';
import { elapsed, type Palette, paletteFor, print, say, table } from './terminal.js';

type Flags = Readonly<Record<string, unknown>> & { readonly json?: boolean };

export function addOperatorCommands(program: Command): void {
  const operator = program
    .command('operator')
    .summary('see and steer what is being done with regions')
    .description(
      'Sees, adds and cancels operators: what the scheduler has done with a region, step by step.\n\nExamples:\n  troupe operator list\n  troupe operator add move-peer 17 2 4\n  troupe operator cancel 17',
    );
  withConnection(
    operator
      .command('list')
      .summary('show operators')
      .description(
        'Shows the operators that wait or run, each with the step that it is at.\n\nExamples:\n  troupe operator list\n  troupe operator list --ended --json',
      )
      .option('--ended', 'also the newest that have ended, and how')
      .option('--json', 'print a JSON object an operator'),
  ).action(list);

  const add = operator
    .command('add')
    .summary('have something done with a region')
    .description(
      'Has the scheduler do something with a region, in safe steps, beside what it does by itself. Returns at once: `troupe operator list` tells how far it is. An operator that people ask for takes the place of one that they did not; another is refused with 4.\n\nExamples:\n  troupe operator add transfer-leader 17 2\n  troupe operator add scatter 17 18 19',
    );
  for (const { kind, summary, example, words, request } of KINDS) {
    const command = add
      .command(kind)
      .summary(summary)
      .description(
        `${summary.charAt(0).toUpperCase()}${summary.slice(1)}.\n\nExamples:\n  troupe operator add ${kind} ${example}`,
      );
    for (const word of words) command.argument(`<${word}>`, ABOUT[word]);
    withConnection(command.option('--json', 'print a JSON object an operator')).action(
      async (...given: readonly unknown[]) => {
        const ids = words.flatMap((word, place) =>
          [given[place]].flat().map((text) => parseCount(word.replace('...', ''), String(text))),
        );
        await adding(request(ids), given[words.length] as Flags);
      },
    );
  }

  withConnection(
    operator
      .command('cancel')
      .summary('cancel a region’s operator')
      .description(
        'Cancels the operator of a region. What it has done stays; the step that is under way may still be done.\n\nExamples:\n  troupe operator cancel 17',
      )
      .argument('<region>', 'the region')
      .option('--json', 'print it as JSON'),
  ).action(cancel);
}

type Word = 'region' | 'regions...' | 'store' | 'from' | 'to' | 'target';

const ABOUT: Readonly<Record<Word, string>> = {
  region: 'the region',
  'regions...': 'the regions',
  store: 'the store’s id',
  from: 'id of the store that is left',
  to: 'id of the store that takes its place',
  target: 'the region that takes its keys',
};

interface Kind {
  readonly kind: OperatorRequest['kind'];
  readonly summary: string;
  readonly example: string;
  readonly words: readonly Word[];
  /** @param ids what was given for the words, in order */
  readonly request: (ids: readonly number[]) => OperatorRequest;
}

const KINDS: readonly Kind[] = [
  {
    kind: 'transfer-leader',
    summary: 'make the peer on a store the leader',
    example: '17 2',
    words: ['region', 'store'],
    request: ([region = 0, store = 0]) => ({ kind: 'transfer-leader', region, store }),
  },
  {
    kind: 'add-peer',
    summary: 'add a voter on a store: a learner first, which is promoted when it has caught up',
    example: '17 4',
    words: ['region', 'store'],
    request: ([region = 0, store = 0]) => ({ kind: 'add-peer', region, store }),
  },
  {
    kind: 'remove-peer',
    summary: 'remove the peer on a store; a leader hands over first',
    example: '17 2',
    words: ['region', 'store'],
    request: ([region = 0, store = 0]) => ({ kind: 'remove-peer', region, store }),
  },
  {
    kind: 'move-peer',
    summary: 'move a peer from one store to another',
    example: '17 2 4',
    words: ['region', 'from', 'to'],
    request: ([region = 0, from = 0, to = 0]) => ({ kind: 'move-peer', region, from, to }),
  },
  {
    kind: 'merge',
    summary: 'merge a region into its neighbour, after its peers have moved to that one’s stores',
    example: '17 1',
    words: ['region', 'target'],
    request: ([region = 0, target = 0]) => ({ kind: 'merge', region, target }),
  },
  {
    kind: 'split',
    summary: 'split a region at the middle of its data',
    example: '17',
    words: ['region'],
    request: ([region = 0]) => ({ kind: 'split', region }),
  },
  {
    kind: 'scatter',
    summary: 'spread the replicas and leaders of some regions evenly',
    example: '17 18 19',
    words: ['regions...'],
    request: (regions) => ({ kind: 'scatter', regions }),
  },
];

async function list(options: Flags & { readonly ended?: boolean }): Promise<void> {
  const { ended = false } = options;
  const operators = await withDatabase(connectionSettings(options), ({ cluster }) =>
    cluster.placement.operators({ ended }),
  );
  show(operators, options);
  if (operators.length === 0)
    say(ended ? 'there are no operators, and none has ended' : 'there are no operators');
}

async function adding(request: OperatorRequest, options: Flags): Promise<void> {
  const operators = await withDatabase(connectionSettings(options), ({ cluster }) =>
    cluster.placement.addOperator(request),
  );
  show(operators, options);
  if (operators.length === 0) say('there is nothing to do: all of it is as it should be');
}

async function cancel(id: string, options: Flags): Promise<void> {
  const region = parseCount('region', id);
  await withDatabase(connectionSettings(options), ({ cluster }) => cluster.placement.cancelOperator(region));
  if (options.json) print(JSON.stringify({ region, cancelled: true }));
  else say(`the operator of region ${region} is cancelled`);
}

function show(operators: readonly OperatorInfo[], { json }: Flags): void {
  if (operators.length === 0) return;
  if (json) for (const one of operators) print(JSON.stringify(one));
  else print(operatorTable(operators, paletteFor(process.stdout)));
}

/** A row for each operator. */
export function operatorTable(operators: readonly OperatorInfo[], palette: Palette): string {
  const rows = operators.map((one) => [
    String(one.region),
    one.kind,
    one.by,
    one.state,
    `${Math.min(one.step + 1, one.steps.length)}/${one.steps.length}`,
    elapsed(one.ageMs),
    one.reason === '' ? (one.steps[one.step] ?? 'done') : one.reason,
  ]);
  return table([['region', 'kind', 'by', 'state', 'step', 'age', 'what'], ...rows], palette);
}
