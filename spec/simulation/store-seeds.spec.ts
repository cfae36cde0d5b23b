import { fork } from 'node:child_process';
import { expect } from 'chai';
import type { StoreSimulationReport } from './store-report.js';
import { averages, runInProcess } from './store-seeds.js';

const SEED = { seed: 7, bug: undefined, txn: false, trouble: undefined };

describe('Seeds side by side', () => {
  it('are violations where no process can be begun', async () => {
    const report = await runInProcess(SEED, fork('nothing.js', { execPath: '/nowhere/node' }));
    expect(report.seed).to.equal(7);
    expect(report.violation).to.match(/^no process could run it/);
  });

  it('are violations where their process has gone before it is asked', async () => {
    const gone = fork('nothing.js', { stdio: 'ignore' });
    await new Promise((resolve) => gone.once('exit', resolve));
    const report = await runInProcess(SEED, gone);
    expect(report.seed).to.equal(7);
    expect(report.violation).to.match(/^no process could run it/);
  });

  it('have means over those that have figures', () => {
    const report = (seed: number, figures: StoreSimulationReport['figures']): StoreSimulationReport => ({
      ...SEED,
      seed,
      hash: '',
      violation: undefined,
      figures,
    });
    const reports = [report(1, { events: 10, reads: 4 }), report(2, {}), report(3, { events: 20 })];
    expect(averages(reports)).to.deep.equal({ events: 15, reads: 4 });
    expect(averages([])).to.deep.equal({});
  });
});
