import { expect } from 'chai';
import { type Engine, SimulatedDisk, StorageError } from '../../storage/index.js';
import { REPAIR_KEY, recoveryFloorKey } from '../../storage/raft-keys.js';
import {
  deleteRecoveryFloor,
  loadRecoveryFloor,
  loadRepair,
  saveRecoveryFloor,
  saveRepair,
} from '../../storage/repair-record.js';
import { seeded } from './seeded.js';

describe('repair record', () => {
  let engine: Engine;

  beforeEach(async () => {
    engine = await new SimulatedDisk({ random: seeded(1) }).open();
  });

  async function write(change: (batch: ReturnType<Engine['batch']>) => void): Promise<void> {
    const batch = engine.batch();
    change(batch);
    await engine.write(batch);
  }

  it('gives back the watermark, and nothing for a store that was never repaired', async () => {
    expect(await loadRepair(engine)).to.equal(undefined);
    for (const watermark of [0, 1_000, 2 ** 53 - 1]) {
      await write((batch) => saveRepair(batch, { watermark }));
      expect(await loadRepair(engine)).to.deep.equal({ watermark });
    }
  });

  it('keeps one floor a region, for one peer', async () => {
    await write((batch) => {
      saveRecoveryFloor(batch, 7, 70, { floor: 12, answered: [71, 72] });
      saveRecoveryFloor(batch, 8, 80, { floor: 0, answered: [] });
      saveRepair(batch, { watermark: 5 });
    });
    expect(await loadRecoveryFloor(engine, 7, 70)).to.deep.equal({ floor: 12, answered: [71, 72] });
    expect(await loadRecoveryFloor(engine, 8, 80)).to.deep.equal({ floor: 0, answered: [] });
    expect(await loadRecoveryFloor(engine, 7, 99)).to.equal(undefined);
    await write((batch) => deleteRecoveryFloor(batch, 7));
    expect(await loadRecoveryFloor(engine, 7, 70)).to.equal(undefined);
    expect(await loadRepair(engine)).to.deep.equal({ watermark: 5 });
  });

  it('refuses what it did not write, with a sentence', async () => {
    for (const bytes of [
      [],
      [0],
      [1],
      [1, 2, 3],
      [1, 0xff, 0, 0, 0, 0, 0, 0, 0],
      [2, 0, 0, 0, 0, 0, 0, 0, 1],
    ]) {
      await write((batch) => batch.put('raft', REPAIR_KEY, Uint8Array.from(bytes)));
      await write((batch) => batch.put('raft', recoveryFloorKey(7), Uint8Array.from(bytes)));
      for (const load of [() => loadRepair(engine), () => loadRecoveryFloor(engine, 7, 70)]) {
        const error = await load().catch((cause: unknown) => cause);
        expect(error, String(bytes)).to.be.instanceOf(StorageError);
        expect((error as StorageError).message).to.match(/start a newer one|troupe store repair/);
      }
    }
  });
});
