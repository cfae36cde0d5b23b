import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { openRocksEngine, SimulatedDisk } from '../../storage/index.js';
import { describeSideFiles, refusal } from './side-files-compliance.js';

describeSideFiles('RocksDB', async () => {
  const path = await mkdtemp(join(tmpdir(), 'troupe-files-'));
  return {
    open: () => openRocksEngine({ path }),
    destroy: () => rm(path, { recursive: true, force: true }),
  };
});

describeSideFiles('simulated disk', async () => {
  const disk = new SimulatedDisk({ random: () => 0 });
  return { open: () => disk.open(), destroy: async () => {} };
});

describeSideFiles('simulated disk with latencies', async () => {
  const disk = new SimulatedDisk({
    random: () => 0,
    clock: { setTimeout: (callback, milliseconds) => setTimeout(callback, milliseconds) },
    latency: () => 0.1,
  });
  return { open: () => disk.open(), destroy: async () => {} };
});

describe('Files in the data directory', () => {
  let path: string;

  beforeEach(async () => {
    path = await mkdtemp(join(tmpdir(), 'troupe-files-'));
  });

  afterEach(() => rm(path, { recursive: true, force: true }));

  it('get their directory with the first one', async () => {
    const engine = await openRocksEngine({ path });
    expect(await engine.files.list()).to.deep.equal([]);
    await engine.files.remove('a');
    expect(await readdir(path)).not.to.include('snapshots');
    await engine.files.open('a');
    expect(await readdir(join(path, 'snapshots'))).to.deep.equal(['a']);
    await engine.close();
  });

  it('do not see what others put there', async () => {
    await mkdir(join(path, 'snapshots', 'directory'), { recursive: true });
    await writeFile(join(path, 'snapshots', 'not plain'), 'x');
    await writeFile(join(path, 'snapshots', 'plain'), 'x');
    const engine = await openRocksEngine({ path });
    expect(await engine.files.list()).to.deep.equal([{ name: 'plain', length: 1 }]);
    await engine.close();
  });

  it('fail the engine when the disk refuses them', async () => {
    await writeFile(join(path, 'snapshots'), 'in the way');
    const engine = await openRocksEngine({ path });
    const sentence = await refusal(engine.files.open('a'), 'engine-failed');
    expect(sentence).to.match(/Opening a failed in .*: .*free or repair the disk, then start the node again/);
    expect(await refusal(engine.files.list(), 'engine-failed')).to.equal(sentence);
    expect(await refusal(engine.get('default', Buffer.from('k')), 'engine-failed')).to.equal(sentence);
    await engine.close();
  });

  it('fail the engine when the disk is full, with a sentence', async function () {
    if (process.platform === 'win32') this.skip();
    const script = fileURLToPath(new URL('./full-disk-file-writer.js', import.meta.url));
    // A limit on the size of files stands for a full disk: 4,096 blocks of 512 bytes.
    const child = spawn('sh', ['-c', 'ulimit -f 4096; exec "$0" "$@"', process.execPath, script, path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const told = JSON.parse(await text(child.stdout)) as { code: string; message: string }[];
    expect(told).to.have.length(6);
    for (const { code, message } of told) {
      expect(code).to.equal('engine-failed');
      expect(message).to.equal(told[0]?.message);
    }
    expect(told[0]?.message).to.match(/Writing large failed in .*EFBIG.*free or repair the disk/);
    const engine = await openRocksEngine({ path });
    const [file] = await engine.files.list();
    expect(file?.length).to.be.within(2_000_000, 4096 * 512);
    await engine.close();
  });
});
