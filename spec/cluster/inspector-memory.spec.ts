import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect } from 'chai';
import type { MachineRecord } from '../../actors/index.js';
import { ClusterModel } from '../../cluster/inspector/model.js';
import { ActorTrace } from '../../cluster/inspector/trace.js';
import { Teller } from './inspector-samples.js';

/** Whatever nothing holds is gone when this has ended. */
async function collectGarbage(): Promise<void> {
  // What a WeakRef was asked for stays until the turn ends.
  await new Promise((resolve) => setImmediate(resolve));
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
}

const actor = (path: string): object => ({ path, status: 'active', queued: 0, restarts: 0 });

describe('what the inspector keeps of actors that come and go', () => {
  /** Those that come and go while no page shows actors; and whether a page did before they went. */
  async function heldOf(seen: boolean): Promise<number> {
    const model = new ClusterModel(() => 1_000);
    const store = new Teller('store-1');
    const paths = Array.from({ length: 20 }, (_, i) => `region/${i}`);
    model.take(store.state('actors', paths.map(actor)));
    if (seen) expect(model.actors.sorted()).to.have.length(20);
    const gone = [...model.actors.values()].map((each) => new WeakRef(each));
    model.take(store.state('actors', [actor('stays')], paths));
    model.look(false);
    await collectGarbage();
    const held = gone.filter((each) => each.deref() !== undefined).length;
    expect(model.actors.sorted().map(({ address }) => address)).to.deep.equal(['store-1/stays']);
    return held;
  }

  it('is nothing of those that no page has shown', async () => {
    expect(await heldOf(false)).to.equal(0);
  });

  it('is nothing of those that a page has shown, and shows no more', async () => {
    expect(await heldOf(true)).to.equal(0);
  });
});

describe('what a trace keeps of steps that are not complete', () => {
  const step = (child?: string): MachineRecord => ({
    ...{
      kind: '@xstate.action',
      path: 'a',
      at: 0,
      action: { type: `of ${child ?? 'its own'}`, params: undefined },
    },
    ...(child === undefined ? {} : { child }),
  });
  const end = (child?: string): MachineRecord => ({
    ...{ kind: '@xstate.snapshot', path: 'a', at: 0, snapshot: { value: 'on', status: 'active' } },
    ...(child === undefined ? {} : { child }),
  });

  it('is of the newest children, and always the step of the actor itself', () => {
    const trace = new ActorTrace();
    trace.add(1, step());
    for (let i = 1; i <= 100; i++) trace.add(1, step(`child-${i}`));
    for (const child of [undefined, 'child-1', 'child-99']) trace.add(2, end(child));
    expect(trace.steps.map(({ actions }) => actions)).to.deep.equal([['of its own'], [], ['of child-99']]);
  });
});
