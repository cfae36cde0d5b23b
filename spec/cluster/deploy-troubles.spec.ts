import { expect } from 'chai';
import { assign, emit, enqueueActions, fromPromise, setup } from 'xstate';
import { MAX_EFFECTS } from '../../cluster/deploy/protocol.js';
import type { StoredEffect } from '../../cluster/deploy/records.js';
import { DeployWorld } from './deploy-world.js';

type Tell = { type: 'tell'; to?: string } | { type: 'add' } | { type: 'guarded' } | { type: 'ask' };

/** Tells others, and counts. */
const teller = setup({
  types: { context: {} as { n: number }, events: {} as Tell },
  guards: { never: () => false },
}).createMachine({
  id: 'teller',
  context: { n: 0 },
  on: {
    tell: { actions: emit(({ event }) => ({ type: 'told', ...(event.to ? { to: event.to } : {}) })) },
    add: { actions: assign({ n: ({ context }) => context.n + 1 }) },
    guarded: { guard: 'never', actions: () => {} },
    ask: { actions: () => {} },
  },
});

async function started(made: DeployWorld): Promise<DeployWorld> {
  await made.start();
  await made.clock.advance(10);
  return made;
}

describe('a deployed actor in trouble', () => {
  describe('whose effects are for somebody who is not there', () => {
    const isThere = ({ event }: StoredEffect): boolean => event.to !== 'nobody';

    it('lets those for others go on, each in order', async () => {
      const it = await started(new DeployWorld({ machine: teller }));
      it.arrives = isThere;
      for (const to of ['nobody', undefined, 'cnt', 'nobody', undefined, 'cnt'])
        it.send({ type: 'tell', ...(to === undefined ? {} : { to }) });
      await it.clock.advance(1000);
      expect(it.carried.map(({ seq, event }) => [seq, event.to])).to.deep.equal([
        [3, undefined],
        [4, 'cnt'],
        [6, undefined],
        [7, 'cnt'],
      ]);
      it.arrives = () => true;
      await it.clock.advance(20_000);
      expect(it.carried.slice(4).map(({ seq, event }) => [seq, event.to])).to.deep.equal([
        [2, 'nobody'],
        [5, 'nobody'],
      ]);
    });

    it('says how many wait, for whom and since when, after a crash too', async () => {
      const it = await started(new DeployWorld({ machine: teller }));
      it.arrives = isThere;
      const since = new Date(it.wall()).toISOString();
      for (let i = 0; i < 3; i++) it.send({ type: 'tell', to: 'nobody' });
      it.send({ type: 'tell', to: 'cnt' });
      await it.clock.advance(3000);
      for (const restart of [false, true]) {
        if (restart) await it.restart();
        await it.clock.advance(100);
        const { actor } = await it.family.stateOf('');
        expect(actor?.waitingEffects).to.deep.equal([{ to: 'nobody', effects: 3, since }]);
        expect(it.backlog.pending).to.equal(3);
      }
      it.arrives = () => true;
      await it.clock.advance(20_000);
      const { actor } = await it.family.stateOf('');
      expect(actor?.waitingEffects).to.deep.equal([]);
      expect(it.backlog.pending).to.equal(0);
    });

    it('is worth one line in the log for each addressee, and few more', async () => {
      const it = await started(new DeployWorld({ machine: teller }));
      it.arrives = isThere;
      for (let i = 0; i < 20; i++) it.send({ type: 'tell', to: 'nobody' });
      await it.clock.advance(4000);
      expect(it.warnings).to.deep.equal([]);
      await it.clock.advance(20_000);
      expect(it.warnings).to.deep.equal([
        'effects of it wait for nobody, which does not acknowledge them: is an actor of that name deployed?',
      ]);
      await it.clock.advance(3_600_000);
      expect(it.warnings).to.have.length.within(4, 8);
    });

    it('refuses events when too many wait, says for whom, and goes on when they have left', async () => {
      const it = await started(new DeployWorld({ machine: teller }));
      it.arrives = isThere;
      for (let i = 0; i < MAX_EFFECTS; i++) it.send({ type: 'tell', to: 'nobody' });
      await it.clock.advance(100);
      const refused = it.send({ type: 'add' });
      await it.clock.advance(100);
      expect(refused).to.deep.equal([
        {
          ok: false,
          code: 'overloaded',
          message: '1000 effects of it have not left yet, 1000 of them for nobody: try again later',
        },
      ]);
      it.arrives = () => true;
      await it.clock.advance(20_000);
      expect(await it.ask({ type: 'add' })).to.include({ ok: true });
    }).timeout(20_000);

    it('counts those that the disk is about to have', async () => {
      const it = await started(
        new DeployWorld({ machine: teller }, 1, (call) => (call === 'sync' ? 1000 : 0)),
      );
      await it.clock.advance(2000);
      const told = Array.from({ length: MAX_EFFECTS }, () => it.send({ type: 'tell', to: 'nobody' }));
      await it.clock.advance(10);
      expect(told.flat()).to.deep.equal([]);
      const refused = it.send({ type: 'add' });
      await it.clock.advance(10);
      expect(refused[0]).to.include({ code: 'overloaded' });
      await it.clock.advance(20_000);
      expect(told.flat().every(({ ok }) => ok)).to.equal(true);
      expect(await it.ask({ type: 'add' })).to.include({ ok: true });
    }).timeout(20_000);

    it('does not apply an event whose step emits too many, and none of them leaves', async () => {
      const shouter = setup({
        types: { context: {} as { n: number }, events: {} as { type: 'shout'; times: number } },
      }).createMachine({
        context: { n: 0 },
        on: {
          shout: {
            actions: enqueueActions(({ enqueue, event, context }) => {
              enqueue.assign({ n: context.n + 1 });
              for (let i = 0; i < event.times; i++) enqueue.emit({ type: 'loud' });
            }),
          },
        },
      });
      const it = await started(new DeployWorld({ machine: shouter }));
      expect(await it.ask({ type: 'shout', times: MAX_EFFECTS + 1 }, 'a')).to.deep.equal({
        ok: false,
        code: 'failed',
        message:
          'it failed on shout (it emitted 1001 effects at once, more than 1000): the event was not applied, it goes on as it was before',
      });
      await it.clock.advance(1000);
      expect(it.carried).to.deep.equal([]);
      // As many as may be, under the same id: the first did not count.
      const answer = await it.ask({ type: 'shout', times: MAX_EFFECTS }, 'a');
      expect(answer).to.deep.include({ ok: true, duplicate: false });
      expect(answer.ok && answer.state?.context).to.deep.equal({ n: 1 });
      await it.clock.advance(20_000);
      expect(it.carried).to.have.length(MAX_EFFECTS);
    }).timeout(20_000);

    it('fails on timers that would make it many more', async () => {
      const ticker = setup({ delays: { soon: 10 } }).createMachine({
        initial: 'a',
        states: {
          a: { entry: emit(() => ({ type: 'tick', to: 'nobody' })), after: { soon: 'b' } },
          b: { entry: emit(() => ({ type: 'tock', to: 'nobody' })), after: { soon: 'a' } },
        },
      });
      const it = await started(new DeployWorld({ machine: ticker }));
      it.arrives = () => false;
      await it.clock.advance(120_000);
      expect(it.backlog.pending).to.equal(2 * MAX_EFFECTS);
      const { actor } = await it.family.stateOf('');
      expect(actor?.state).to.equal('failed');
      expect(actor?.failures.last).to.equal('2000 effects have not left yet, and it emits more');
    }).timeout(30_000);
  });

  describe('that no transition of its machine takes', () => {
    it('is acknowledged, and says so', async () => {
      const it = await started(new DeployWorld({ machine: teller }));
      const taken = async (type: string): Promise<unknown> => {
        const answer = await it.ask({ type }, type);
        return answer.ok ? answer.taken : answer;
      };
      expect([await taken('add'), await taken('ask'), await taken('tell')]).to.deep.equal([true, true, true]);
      expect([await taken('nothing'), await taken('guarded')]).to.deep.equal([false, false]);
      await it.restart();
      // Answered as it was, though it is another life of its host.
      expect([await taken('add'), await taken('nothing')]).to.deep.equal([true, false]);
      expect(await taken('other')).to.equal(false);
    });
  });

  describe('that fails without an event', () => {
    let down = true;
    let tries = 0;
    const fetcher = setup({
      actors: {
        fetch: fromPromise(() => {
          tries++;
          return down ? Promise.reject(new Error('no route')) : Promise.resolve(1);
        }),
      },
    }).createMachine({
      initial: 'fetching',
      states: { fetching: { invoke: { src: 'fetch', onDone: 'fetched' } }, fetched: {} },
    });
    beforeEach(() => {
      down = true;
      tries = 0;
    });

    it('is tried again with growing pauses, and stands as failed in the end', async () => {
      const it = await started(new DeployWorld({ machine: fetcher }));
      await it.clock.advance(3000);
      expect(tries).to.be.within(4, 7);
      await it.clock.advance(600_000);
      expect(tries).to.equal(12);
      const { actor } = await it.family.stateOf('');
      expect([actor?.state, actor?.failures]).to.deep.equal(['failed', { count: 12, last: 'no route' }]);
    });

    it('goes on with the next event', async () => {
      const it = await started(new DeployWorld({ machine: fetcher }));
      await it.clock.advance(600_000);
      expect(await it.ask({ type: 'hello' })).to.include({ ok: true });
      await it.clock.advance(600_000);
      expect((await it.family.stateOf('')).actor?.state).to.equal('failed');
      down = false;
      await it.ask({ type: 'hello' });
      await it.clock.advance(10);
      const answer = await it.ask({ type: 'hello' });
      expect(answer.ok && answer.state?.value).to.equal('fetched');
    });

    it('answers those that wait when it cannot take its first step, and is tried with each event', async () => {
      const machine = setup({}).createMachine({
        entry: () => {
          if (down) throw new Error('no database');
        },
      });
      const instances = { member: 'key', idleMs: 60_000, most: 10 };
      const it = await started(new DeployWorld({ machine, instances }));
      const answers = [it.send({ type: 'a', key: '1' }), it.send({ type: 'b', key: '1' })];
      await it.clock.advance(50);
      const refused = {
        ok: false,
        code: 'failed',
        message: 'it 1 cannot go on (no database): the event was not applied',
      };
      expect(answers).to.deep.equal([[refused], [refused]]);
      expect(it.family.troubles).to.deep.equal({ effects: 0, failed: 1 });
      down = false;
      expect(await it.ask({ type: 'a', key: '1' })).to.include({ ok: true, seq: 2 });
    });
  });
});
