import { expect } from 'chai';
import { setup } from 'xstate';
import { HOUSE_MACHINES } from '../../cluster/charts/house.js';
import { statesOf } from '../../cluster/charts/model.js';
import { chartOf } from '../../cluster/charts/read-machine.js';
import { liveSvgOf } from '../../cluster/charts/svg.js';
import { outlineOf } from '../../cluster/inspector/chart-outline.js';
import { ChartPictures } from '../../cluster/inspector/chart-pictures.js';

const kettle = setup({ guards: { isFull: () => true } }).createMachine({
  id: 'kettle',
  type: 'parallel',
  states: {
    water: {
      initial: 'cold',
      states: {
        cold: { on: { heat: { guard: 'isFull', target: 'hot' } } },
        hot: { after: { 1000: 'cold' } },
      },
    },
    lid: { initial: 'shut', states: { shut: { on: { lift: 'open' } }, open: {} } },
  },
});

describe('live charts', () => {
  let pictures: ChartPictures;
  beforeEach(() => {
    pictures = new ChartPictures();
  });
  afterEach(() => pictures.close());

  it('know which states a value means, at any depth', () => {
    expect(pictures.active('raft', { leader: 'serving' })).to.deep.equal([
      'raft',
      'raft.leader',
      'raft.leader.serving',
    ]);
    expect(pictures.active('raft', 'follower')).to.deep.equal(['raft', 'raft.follower']);
    expect(pictures.active('raft', { nonsense: 1 })).to.deep.equal(['raft']);
    expect(pictures.active('nobody', 'x')).to.deep.equal([]);
  });

  it("take in a user's machine by its definition, and nothing that is none", async () => {
    const told: unknown = JSON.parse(JSON.stringify(chartOf(kettle)));
    pictures.learn('kettle', told);
    expect(pictures.active('kettle', { water: 'hot', lid: 'shut' })).to.deep.equal([
      'kettle',
      'kettle.water',
      'kettle.water.hot',
      'kettle.lid',
      'kettle.lid.shut',
    ]);
    expect(await pictures.svg('kettle')).to.match(/^<svg [\s\S]*data-state="kettle.water.hot"/);
    const damaged = (change: (chart: { root: object }) => void): unknown => {
      const copy: { root: object } = JSON.parse(JSON.stringify(told));
      change(copy);
      return copy;
    };
    const bad: unknown[] = [
      undefined,
      null,
      'chart',
      {},
      damaged((chart) => Object.assign(chart, { version: 2 })),
      damaged((chart) => Object.assign(chart.root, { states: 'none' })),
      damaged((chart) => Object.assign(chart.root, { transitions: [{ targets: [1] }] })),
      damaged((chart) => Object.assign(chart.root, { kind: 'wild' })),
    ];
    for (const [index, one] of bad.entries()) {
      pictures.learn(`bad${index}`, one);
      expect(pictures.knows(`bad${index}`), JSON.stringify(one)?.slice(0, 80)).to.equal(false);
    }
    // A machine of the house is what the house says it is.
    pictures.learn('raft', told);
    expect(pictures.active('raft', 'follower')).to.include('raft.follower');
  });

  it('name every state of every machine of the house, in the outline too', async () => {
    for (const { name, machine } of HOUSE_MACHINES) {
      const chart = chartOf(machine);
      const ids = [...statesOf(chart)].map(({ state }) => state.id);
      expect(
        [...statesOf(outlineOf(chart))].map(({ state }) => state.id),
        name,
      ).to.deep.equal(ids);
    }
    const chart = outlineOf(chartOf(kettle));
    const svg = await liveSvgOf(chart);
    for (const { state } of statesOf(chart)) expect(svg).to.contain(`data-state="${state.id}"`);
    expect(svg).to.contain('data-source="kettle.water.cold" data-targets="kettle.water.hot"');
    expect(svg).to.not.contain('isFull').and.not.contain('<style');
  });
});
