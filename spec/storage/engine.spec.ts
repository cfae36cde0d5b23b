import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openRocksEngine, SimulatedDisk } from '../../storage/index.js';
import { describeEngine } from './engine-compliance.js';

describeEngine('RocksDB', async () => {
  const path = await mkdtemp(join(tmpdir(), 'troupe-engine-'));
  return {
    open: () => openRocksEngine({ path }),
    destroy: () => rm(path, { recursive: true, force: true }),
  };
});

describeEngine('simulated disk', async () => {
  const disk = new SimulatedDisk({ random: () => 0 });
  return { open: () => disk.open(), destroy: async () => {} };
});

describeEngine('simulated disk with latencies', async () => {
  const disk = new SimulatedDisk({
    random: () => 0,
    clock: { setTimeout: (callback, milliseconds) => setTimeout(callback, milliseconds) },
    latency: () => 1,
  });
  return { open: () => disk.open(), destroy: async () => {} };
});
