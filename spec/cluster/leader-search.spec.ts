import { expect } from 'chai';
import { LeaderSearch } from '../../cluster/leader-search.js';

const NAMES = ['scheduler-1', 'scheduler-2', 'scheduler-3'];

describe('the search for the scheduler that leads', () => {
  it('begins with the leader that was known, else with the first name', () => {
    expect(new LeaderSearch(NAMES, undefined).node).to.equal('scheduler-1');
    expect(new LeaderSearch(NAMES, 'scheduler-3').node).to.equal('scheduler-3');
  });

  it('follows hints at once, but not for ever', () => {
    const search = new LeaderSearch(NAMES, undefined);
    expect([search.refused('scheduler-3'), search.node]).to.deep.equal([true, 'scheduler-3']);
    expect([search.refused('scheduler-2'), search.node]).to.deep.equal([true, 'scheduler-2']);
    expect([search.refused('scheduler-3'), search.node]).to.deep.equal([false, 'scheduler-3']);
  });

  it('follows a hint at a node that is not among the names', () => {
    const search = new LeaderSearch(['scheduler-1'], undefined);
    expect(search.refused('scheduler-2')).to.equal(true);
    expect(search.node).to.equal('scheduler-2');
    search.silent();
    expect(search.node).to.equal('scheduler-1');
  });

  it('asks the others in turn after a silence, whoever they point to', () => {
    const search = new LeaderSearch(NAMES, 'scheduler-2');
    search.silent();
    expect(search.node).to.equal('scheduler-3');
    expect([search.refused('scheduler-2'), search.node]).to.deep.equal([false, 'scheduler-1']);
    expect([search.refused(''), search.node]).to.deep.equal([false, 'scheduler-2']);
  });

  it('has more patience the more silence it has met, within bounds; with one that is alone at once', () => {
    const search = new LeaderSearch(NAMES, undefined);
    const patience: number[] = [];
    for (let i = 0; i < 9; i++, search.silent()) patience.push(search.patience);
    expect(patience).to.deep.equal([500, 500, 1000, 1000, 1500, 1500, 2000, 2000, 2000]);
    expect(new LeaderSearch(['scheduler-1'], undefined).patience).to.equal(2000);
  });
});
