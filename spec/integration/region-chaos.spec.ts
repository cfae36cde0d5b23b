import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { REGION_ACTS } from '../chaos/region-acts.js';
import { type ChaosReport, runChaos } from '../chaos/run.js';
import { hasNatsServer } from '../nats-server.js';
import { skip } from '../skip.js';

const SEED = 6;

describe('regions that split, merge and move while processes are killed', function () {
  this.timeout(180_000);
  let directory: string;

  before(function () {
    if (!hasNatsServer()) skip(this, 'nats-server is not installed');
    directory = mkdtempSync(join(tmpdir(), 'troupe-chaos-'));
  });

  after(() => rmSync(directory, { recursive: true, force: true }));

  it('lose nothing, are whole in the end, and hold the same on each store', async () => {
    const lines: string[] = [];
    const report: ChaosReport = await runChaos({
      seed: SEED,
      kills: 6,
      minutes: 1,
      faults: ['kill', 'scheduler', 'region'],
      others: ['scheduler'],
      acts: REGION_ACTS,
      stores: 4,
      storeArguments: ['--region-split-size', '16KiB', '--split-check-interval', '1s'],
      directory,
      say: (line) => lines.push(line),
    });
    const story = `${lines.join('\n')}\n\n${report.evidence}`;
    expect(report.violations, story).deep.equals([]);
    expect(report.kills).least(6);
    for (const act of REGION_ACTS) expect(report.acts[act].done, `${act}\n${story}`).least(1);
    expect(report.operations).above(1_000);
  });
});
