/** The pictures of the house's machines in docs/charts/ (`npm run charts`), and the page that shows them. */

import { HOUSE_MACHINES } from './house.js';
import { chartOf } from './read-machine.js';
import { svgOf } from './svg.js';

/** Every file of docs/charts/ by its name, with its text. */
export async function gallery(): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>([['README.md', page()]]);
  for (const { name, machine } of HOUSE_MACHINES) files.set(`${name}.svg`, await svgOf(chartOf(machine)));
  return files;
}

function page(): string {
  const sections = HOUSE_MACHINES.map(({ name, line }) =>
    [
      `## ${name}`,
      '',
      `${line[0]?.toUpperCase()}${line.slice(1)} ([${sourceOf(name)}](../../${sourceOf(name)})).`,
      '',
      `[![Statechart ${name}](${name}.svg)](${name}.svg)`,
    ].join('\n'),
  );
  return `${[HEAD, ...sections].join('\n\n')}\n`;
}

function sourceOf(name: string): string {
  return name === 'raft' ? 'machines/raft/role.machine.ts' : `machines/${name}.machine.ts`;
}

const HEAD = `# Charts

The statecharts in \`machines/\`, drawn from the machines themselves by \`npm run charts\`; a spec fails when a picture is
not current. \`troupe chart NAME\` draws one, in other formats too, and any XState machine in a file of yours
([the command line](../cli.md#troupe-chart)).

A box is a state. In it stand what it does on \`entry\` and \`exit\`, what it \`invoke\`s, and the events that it takes without
being left. An arrow is a transition: its event, its guard in [brackets], its actions behind a slash; \`[else]\` is taken when
no branch before it is, and \`always\` waits for no event. An arrow that begins at the inner side of a box is taken in every state of
it. A dot is where a state begins, a double border its end, dashed lines divide regions that are active side by side.
Events that one arrow shares stand on it one below the other.`;
