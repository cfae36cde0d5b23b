/** `troupe chart`: a machine's statechart as a picture or as text. */

import { statSync, writeFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import type { AnyStateMachine } from 'xstate';
import { didYouMean } from '../../actors/index.js';
import { HOUSE_MACHINES, houseMachine } from '../charts/house.js';
import { type Chart, ChartError } from '../charts/model.js';
import { chartOf } from '../charts/read-machine.js';
import { TroupeError } from '../errors.js';
import { loadMachine, namesFile } from '../machine-file.js';
import { paletteFor, print, printAll, say, table } from './terminal.js';

const FORMATS = ['svg', 'mermaid', 'dot', 'json'] as const;
type Format = (typeof FORMATS)[number];

interface ChartFlags {
  readonly format?: Format;
  readonly json?: boolean;
  readonly output?: string;
}

export function addChartCommand(program: Command): void {
  program
    .command('chart')
    .summary("draw a machine's statechart")
    .description(
      'Draws a statechart: of one of the machines that Troupe is made of, or of an XState 5 machine that a JavaScript or TypeScript file exports (the file is run). Without a name it lists the machines.\n\nExamples:\n  troupe chart\n  troupe chart raft --output raft.svg\n  troupe chart peer --format mermaid\n  troupe chart ./src/checkout.ts#paymentMachine --format dot | dot -Tpng > payment.png',
    )
    .argument('[NAME]', 'a machine of the list, FILE, or FILE#EXPORT where the file exports several')
    .addOption(new Option('-f, --format <format>', 'what to draw (svg)').choices(FORMATS))
    .option('--json', 'the same as --format json')
    .option('-o, --output <file>', 'write to FILE instead of standard output')
    .action(chart);
}

async function chart(name: string | undefined, flags: ChartFlags): Promise<void> {
  if (flags.json && flags.format !== undefined && flags.format !== 'json') {
    throw new TroupeError(
      'usage',
      `--json and --format ${flags.format} exclude each other: give one of them`,
    );
  }
  const format = flags.json ? 'json' : flags.format;
  if (name === undefined) {
    list(format, flags.output);
    return;
  }
  const text = await drawn(await chartNamed(name), format ?? 'svg');
  if (flags.output === undefined) await printAll(text);
  else write(flags.output, text);
}

function list(format: Format | undefined, output: string | undefined): void {
  if (output !== undefined || (format !== undefined && format !== 'json')) {
    throw new TroupeError('usage', 'say which machine to draw: troupe chart alone lists them');
  }
  const machines = HOUSE_MACHINES.map(({ name, line }) => ({ name, line }));
  if (format === 'json') for (const machine of machines) print(JSON.stringify(machine));
  else
    print(
      table(
        [['machine', 'is'], ...machines.map(({ name, line }) => [name, line])],
        paletteFor(process.stdout),
      ),
    );
}

async function chartNamed(name: string): Promise<Chart> {
  const machine = await machineNamed(name);
  try {
    return chartOf(machine);
  } catch (cause) {
    if (!(cause instanceof ChartError)) throw cause;
    throw new TroupeError('usage', `machine ${machine.id} contradicts itself: ${cause.message}`, { cause });
  }
}

async function machineNamed(name: string): Promise<AnyStateMachine> {
  const known = houseMachine(name);
  if (known !== undefined) return known.machine;
  if (namesFile(name)) return loadMachine(name, didYouMean);
  const suggestion = didYouMean(
    name,
    HOUSE_MACHINES.map((machine) => machine.name),
  );
  const hint =
    suggestion === '' ? ': troupe chart lists them, and a file is named with its ending' : suggestion;
  throw new TroupeError('not-found', `there is no machine ${name}${hint}`);
}

/** Each format loads what it needs: the layout library is large. */
async function drawn(subject: Chart, format: Format): Promise<string> {
  switch (format) {
    case 'json':
      return `${JSON.stringify(subject, null, 2)}\n`;
    case 'mermaid':
      return (await import('../charts/mermaid.js')).mermaidOf(subject);
    case 'dot':
      return (await import('../charts/dot.js')).dotOf(subject);
    case 'svg':
      return svg(subject);
  }
}

async function svg(subject: Chart): Promise<string> {
  const { svgOf } = await import('../charts/svg.js');
  try {
    return await svgOf(subject);
  } catch (cause) {
    if (!(cause instanceof ChartError)) throw cause;
    throw new TroupeError('failed', cause.message, { cause });
  }
}

function write(file: string, text: string): void {
  if (statSync(file, { throwIfNoEntry: false })?.isDirectory()) {
    throw new TroupeError('usage', `${file} cannot be written: it is a directory; name a file in it`);
  }
  try {
    writeFileSync(file, text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new TroupeError('usage', `${file} cannot be written: ${reason}`, { cause });
  }
  say(`written to ${file}`);
}
