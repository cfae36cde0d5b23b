import { expect } from 'chai';
import fc from 'fast-check';
import { createMachine } from 'xstate';
import { HOUSE_MACHINES } from '../../cluster/charts/house.js';
import { layOut } from '../../cluster/charts/layout.js';
import { chartOf } from '../../cluster/charts/read-machine.js';
import { faultsOf } from './charts-geometry.js';

interface Shape {
  readonly kind: 'leaf' | 'final' | 'history' | 'compound' | 'parallel';
  readonly children: readonly Shape[];
  readonly lines: number;
}

const leaf = fc.record({
  kind: fc.constantFrom<Shape['kind']>('leaf', 'leaf', 'leaf', 'final'),
  children: fc.constant<readonly Shape[]>([]),
  lines: fc.nat(3),
});
const inner = fc.record({
  kind: fc.constantFrom<Shape['kind']>('compound', 'compound', 'parallel'),
  children: fc.array(leaf, { minLength: 1, maxLength: 3 }),
  lines: fc.nat(8),
});
const machineShape = fc.record({
  kind: fc.constantFrom<Shape['kind']>('compound', 'compound', 'parallel'),
  children: fc.array(fc.oneof(leaf, inner), { minLength: 1, maxLength: 4 }),
  lines: fc.nat(16),
});

/** A machine of that shape, with arrows between the states that the numbers pick. */
function machineOf(
  shape: Shape,
  picks: readonly (readonly [number, number])[],
): ReturnType<typeof createMachine> {
  const ids: string[] = [];
  const nodes: Record<string, unknown>[] = [];
  const build = (at: Shape, id: string): Record<string, unknown> => {
    const on: Record<string, unknown> = {};
    if (at.kind !== 'final') {
      for (let line = 0; line < at.lines; line++)
        on[`internal event ${line}`] = { actions: ['anAction', 'anotherAction'] };
    }
    const node: Record<string, unknown> = { id, on };
    if (at.kind === 'final') node.type = 'final';
    if (at.children.length > 0) {
      const parallel = at.kind === 'parallel';
      if (parallel) node.type = 'parallel';
      else node.initial = 's0';
      node.states = Object.fromEntries(
        at.children.map((child, index) => [`s${index}`, build(child, `${id}_${index}`)]),
      );
    }
    ids.push(id);
    if (at.kind !== 'final') nodes.push(node);
    return node;
  };
  const root = build(shape, 'root');
  for (const [index, [from, to]] of picks.entries()) {
    const on = nodes[from % nodes.length]?.on;
    const target = `#${ids[to % ids.length]}`;
    if (typeof on === 'object')
      Object.assign(on as object, { [`event${index}`]: { target, guard: 'isSo', actions: 'act' } });
  }
  return createMachine(root as Parameters<typeof createMachine>[0]);
}

/** The first layout of a process compiles ELK as well, on several threads. */
function coldStart(name: string): number {
  return name === HOUSE_MACHINES[0]?.name ? 3 : 1;
}

describe('the layout of a chart', () => {
  for (const { name, machine } of HOUSE_MACHINES) {
    it(`covers nothing in the chart ${name}, and takes less than five seconds of work`, async () => {
      const before = process.cpuUsage();
      const picture = await layOut(chartOf(machine));
      const { user, system } = process.cpuUsage(before);
      expect(faultsOf(picture)).to.deep.equal([]);
      expect((user + system) / 1000 / coldStart(name)).to.be.lessThan(5000);
    });
  }

  it('covers nothing in any chart', async () => {
    const picks = fc.array(fc.tuple(fc.nat(40), fc.nat(40)), { maxLength: 10 });
    await fc.assert(
      fc.asyncProperty(machineShape, picks, async (shape, arrows) => {
        const picture = await layOut(chartOf(machineOf(shape, arrows)));
        expect(faultsOf(picture)).to.deep.equal([]);
      }),
      { seed: 11, numRuns: 25 },
    );
  });

  it('is the same each time', async () => {
    const [raft] = HOUSE_MACHINES;
    const chart = chartOf((raft ?? expect.fail('no machine')).machine);
    expect(await layOut(chart)).to.deep.equal(await layOut(chart));
  });
});
