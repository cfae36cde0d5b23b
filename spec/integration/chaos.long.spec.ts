import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { type ChaosReport, runChaos } from '../chaos/run.js';
import { hasNatsServer } from '../nats-server.js';
import { skip } from '../skip.js';

const SEED = 5;

describe('a cluster of processes that are killed, stopped and cut off', () => {
  let directory: string;

  before(function () {
    if (!hasNatsServer()) skip(this, 'nats-server is not installed');
    directory = mkdtempSync(join(tmpdir(), 'troupe-chaos-'));
  });

  after(() => rmSync(directory, { recursive: true, force: true }));

  it('loses nothing that it acknowledged, answers linearizably, and comes back', async () => {
    const lines: string[] = [];
    const report: ChaosReport = await runChaos({
      seed: SEED,
      kills: 5,
      minutes: 1,
      faults: ['kill', 'stop', 'nats', 'cut', 'scheduler'],
      others: ['stop', 'nats', 'cut', 'scheduler'],
      stores: 3,
      directory,
      say: (line) => lines.push(line),
    });
    const story = `${lines.join('\n')}\n\n${report.evidence}`;
    expect(report.violations, story).deep.equals([]);
    expect(report.kills).least(5);
    expect(report.faults).includes({ stop: 1, nats: 1, cut: 1, scheduler: 1 });
    expect(report.operations).above(1_000);
  });
});
