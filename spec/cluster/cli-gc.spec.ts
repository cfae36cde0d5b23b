import { expect } from 'chai';
import { gcLine, gcPage } from '../../cluster/cli/gc-command.js';
import { createProgram } from '../../cluster/cli/program.js';
import { paletteFor } from '../../cluster/cli/terminal.js';
import { gcInfo } from '../../cluster/client/gc.js';
import { troupepb } from '../../cluster/proto/index.js';
import { composeTimestamp } from '../../cluster/timestamp.js';

const round = (changes: Partial<troupepb.GcRound>) =>
  troupepb.GcRound.from({ safePoint: 9n, age: 4_000, regions: 1_200, regionsDone: 1_200, ...changes });

const TOLD = troupepb.GcStatus.from({
  state: 'idle',
  txnSafePoint: composeTimestamp(1_700_000_000_000, 1),
  gcSafePoint: composeTimestamp(1_700_000_000_000, 0),
});

describe('troupe gc', () => {
  const palette = paletteFor({}, {});
  const page = (told: Partial<troupepb.GcStatus>) => gcPage(gcInfo({ ...TOLD, ...told }), palette);

  it('prints safe points with their time, in digits that a number would not keep', () => {
    expect(page({})).to.match(/GC safe point +445644800000000000 \(2023-11-14T22:13:20.000Z\)/);
    expect(page({})).to.match(/transaction safe point +445644800000000001/);
    expect(page({ gcSafePoint: 0n })).to.match(/GC safe point +0(\s|$)/);
  });

  it('tells how far a round is, what the last came to, and why it failed', () => {
    const told = page({
      state: 'resolvingLocks',
      round: round({ regionsDone: 7, locks: 3 }),
      last: round({ endedAgo: 61_000, failure: 'region 4 has no leader' }),
    });
    expect(told).to.match(/7 of 1,200 regions, 3 locks resolved, for 4.0 s/);
    expect(told).to.match(/failed, ended 1 min 1 s ago: region 4 has no leader/);
  });

  it('names who holds the safe points back, and how many more there are', () => {
    const services = [{ serviceId: Uint8Array.of(0x61, 0xff), safePoint: 5n, expiresIn: 30_000 }];
    const told = page({ services, serviceCount: 4 });
    expect(told).to.match(/held back by +safe point +expires in/);
    expect(told).to.include('a\\xff');
    expect(told).to.match(/… and 3 more/);
    expect(gcLine(gcInfo({ ...TOLD, services, serviceCount: 4 }))).to.equal(
      'Old versions: collected up to 2023-11-14T22:13:20.000Z, held back by 4 (idle)',
    );
  });

  it('refuses a state that it does not know', () => {
    expect(() => gcInfo({ ...TOLD, state: 'dreaming' })).to.throw(/does not know \("dreaming"\)/);
  });

  it('has its commands, each with an example', async () => {
    const gc = (await createProgram('gc')).commands.find((command) => command.name() === 'gc');
    expect(gc?.commands.map((command) => command.name())).to.deep.equal([
      ...['status', 'run', 'pause', 'resume', 'safe-point'],
    ]);
    for (const command of gc?.commands ?? []) expect(command.description()).to.include('Examples:');
  });
});
