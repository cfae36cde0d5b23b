import { expect } from 'chai';
import { NO_MARKS, runLoad } from '../../cluster/bench/load-loop.js';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('the load loop', () => {
  it('makes as many requests as it was told, by as many clients at once, and counts each kind', async () => {
    let made = 0;
    let underWay = 0;
    let most = 0;
    const result = await runLoad<'odd' | 'even'>(
      { clients: 7, warmupSeconds: 0, seconds: 60, limit: 101 },
      {
        choose: () => (made++ % 2 === 0 ? 'odd' : 'even'),
        make: async () => {
          most = Math.max(most, ++underWay);
          await turn();
          underWay--;
        },
      },
      NO_MARKS,
    );
    expect([made, most, underWay]).to.deep.equal([101, 7, 0]);
    expect([result.operations, result.errors]).to.deep.equal([101, 0]);
    expect([...result.kinds].map(([kind, { operations }]) => [kind, operations])).to.deep.equal([
      ['odd', 51],
      ['even', 50],
    ]);
  });

  it('does not count requests of the warm-up off', async () => {
    let counting = false;
    let began = 0;
    const { operations } = await runLoad<'one'>(
      { clients: 3, warmupSeconds: 0.01, seconds: 60, limit: 20 },
      {
        choose: () => {
          if (counting) began++;
          return 'one';
        },
        make: turn,
      },
      {
        began: () => {
          counting = true;
        },
        ended() {},
      },
    );
    expect([operations, began]).to.deep.equal([20, 20]);
  });

  it('counts what failed, tells the first error, and measures nothing of it', async () => {
    let made = 0;
    const { operations, errors, firstError } = await runLoad<'one'>(
      { clients: 2, warmupSeconds: 0, seconds: 60, limit: 10 },
      {
        choose: () => 'one',
        make: async () => {
          await turn();
          if (++made % 5 === 0) throw new Error(`request ${made}`);
        },
      },
      NO_MARKS,
    );
    expect([operations, errors, firstError]).to.deep.equal([8, 2, 'request 5']);
  });

  it('ends when its time is over, and waits for what is under way', async () => {
    let underWay = 0;
    let ended = false;
    const { seconds } = await runLoad<'one'>(
      { clients: 4, warmupSeconds: 0, seconds: 0.02 },
      {
        choose: () => 'one',
        make: async () => {
          underWay++;
          await turn();
          underWay--;
        },
      },
      {
        began() {},
        ended: () => {
          ended = true;
        },
      },
    );
    expect(ended).to.equal(true);
    expect(underWay).to.equal(0);
    expect(seconds).to.be.at.least(0.019);
  });
});
