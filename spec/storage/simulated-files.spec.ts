import { expect } from 'chai';
import { type Engine, type SideFile, SimulatedDisk } from '../../storage/index.js';
import { seeded } from './seeded.js';
import { refusal } from './side-files-compliance.js';

const SEEDS = 300;

async function content(engine: Engine, name = 'f'): Promise<Buffer | undefined> {
  const found = (await engine.files.list()).find((file) => file.name === name);
  return found && Buffer.from(await engine.files.read(name, 0, found.length));
}

/** What is left of the file after a power loss, by seed. */
async function survivors(
  write: (file: SideFile, engine: Engine) => Promise<unknown>,
): Promise<(Buffer | undefined)[]> {
  const left: (Buffer | undefined)[] = [];
  for (let seed = 0; seed < SEEDS; seed++) {
    const disk = new SimulatedDisk({ random: seeded(seed) });
    const engine = await disk.open();
    await write(await engine.files.open('f'), engine);
    disk.crash();
    const after = await content(await disk.open());
    // What a start has found stays.
    disk.crash();
    expect(await content(await disk.open())).to.deep.equal(after);
    left.push(after);
  }
  return left;
}

const letters = (letter: string, count: number): Buffer => Buffer.alloc(count, letter);

describe('Files on the simulated disk', () => {
  it('keep every synced byte over a power loss', async () => {
    const left = await survivors(async (file) => {
      await file.append(letters('a', 3000));
      await file.sync();
    });
    for (const after of left) expect(after?.equals(letters('a', 3000))).to.equal(true);
  });

  it('lose unsynced bytes: a tail, or to zeros, in whole or in places, each at times', async () => {
    const left = await survivors(async (file) => {
      await file.append(letters('a', 1000));
      await file.sync();
      await file.append(letters('b', 3000));
    });
    const seen = { whole: 0, cut: 0, zeroTail: 0, holes: 0 };
    for (const after of left) {
      expect(after?.subarray(0, 1000).equals(letters('a', 1000))).to.equal(true);
      const rest = after?.subarray(1000).toString('latin1') ?? '';
      expect(rest).to.match(/^[b\0]*$/);
      if (rest === 'b'.repeat(3000)) seen.whole++;
      else if (/^b*$/.test(rest)) seen.cut++;
      else if (/^b*\0+$/.test(rest)) seen.zeroTail++;
      else seen.holes++;
    }
    for (const count of Object.values(seen)) expect(count).to.be.above(2);
  });

  it('may vanish when they were never synced', async () => {
    const left = await survivors((file) => file.append(letters('a', 10)));
    const gone = left.filter((after) => after === undefined).length;
    expect(gone).to.be.within(SEEDS / 4, (3 * SEEDS) / 4);
  });

  it('may get back what was cut off, until the next sync', async () => {
    const cut = async (file: SideFile) => {
      await file.append(letters('a', 1000));
      await file.sync();
      await file.truncate(800);
      await file.append(letters('b', 100));
      await file.truncate(600);
      await file.append(letters('c', 100));
    };
    const seen = new Set<string>();
    for (const after of await survivors(cut)) {
      const kind = (after?.toString('latin1') ?? '').replace(/(.)\1*/gs, '$1');
      expect(kind).to.match(/^a(c|\0|c\0)?$/);
      seen.add(after?.equals(letters('a', 1000)) ? 'restored' : kind);
      if (!after?.equals(letters('a', 1000))) expect(after?.length).to.be.within(600, 700);
    }
    expect(seen).to.include('restored').and.include('ac').and.include('a\0');
    const synced = await survivors(async (file) => {
      await cut(file);
      await file.sync();
    });
    for (const after of synced) expect(after?.length).to.equal(700);
  });

  it('stay removed', async () => {
    const left = await survivors(async (file, engine) => {
      await file.append(letters('a', 10));
      await file.sync();
      await file.close();
      await engine.files.remove('f');
    });
    expect(left.every((after) => after === undefined)).to.equal(true);
  });

  it('make the same choices for the same seed, and none when everything is synced', async () => {
    const run = async (file: SideFile) => {
      await file.append(letters('a', 1000));
      await file.sync();
      await file.append(letters('b', 1000));
    };
    expect(await survivors(run)).to.deep.equal(await survivors(run));
    let draws = 0;
    const disk = new SimulatedDisk({ random: () => ++draws && 0 });
    const engine = await disk.open();
    await (await engine.files.open('f')).sync();
    disk.crash();
    const withFile = draws;
    await disk.open();
    disk.crash();
    expect(draws - withFile).to.equal(withFile);
  });

  it('are closed by a power loss, and their calls under way never complete', async () => {
    const timers: (() => void)[] = [];
    const disk = new SimulatedDisk({
      random: () => 0,
      clock: { setTimeout: (callback) => timers.push(callback) },
      latency: (call) => (call === 'sync' ? 1 : 0),
    });
    const engine = await disk.open();
    const file = await engine.files.open('f');
    await file.append(letters('a', 10));
    let done = false;
    const sync = file.sync().then(() => {
      done = true;
    });
    while (timers.length === 0) await Promise.resolve();
    disk.crash();
    for (const timer of timers) timer();
    const first = await Promise.race([sync, new Promise((resolve) => setImmediate(resolve, 'nothing'))]);
    expect(first).to.equal('nothing');
    expect(done).to.equal(false);
    await refusal(engine.files.list(), 'engine-failed');
    const next = await disk.open();
    expect((await next.files.open('f')).length).to.equal(0);
  });

  it('take the time of writes, syncs and reads', async () => {
    const calls: string[] = [];
    const disk = new SimulatedDisk({ random: () => 0, latency: (call) => calls.push(call) });
    const engine = await disk.open();
    const file = await engine.files.open('f');
    await file.append(letters('a', 1));
    await file.sync();
    await file.truncate(0);
    await engine.files.read('f', 0, 1);
    await engine.files.list();
    await file.close();
    await engine.files.remove('f');
    expect(calls).to.deep.equal(['write', 'write', 'sync', 'write', 'read', 'read', 'write']);
  });

  it('fail the engine at a planned fault', async () => {
    const faults = [
      ['write', (file: SideFile) => file.append(letters('a', 1))],
      ['write', (file: SideFile) => file.truncate(0)],
      ['write', (_: SideFile, engine: Engine) => engine.files.open('g')],
      ['write', (_: SideFile, engine: Engine) => engine.files.remove('h')],
      ['sync', (file: SideFile) => file.sync()],
    ] as const;
    for (const [call, use] of faults) {
      const disk = new SimulatedDisk({ random: () => 0 });
      const engine = await disk.open();
      await (await engine.files.open('h')).close();
      const file = await engine.files.open('f');
      disk.failNext(call, { message: 'No space left on device' });
      const sentence = await refusal(use(file, engine), 'engine-failed');
      expect(sentence).to.match(/refused a (write|sync): No space left on device/);
      expect(await refusal(engine.sync(), 'engine-failed')).to.equal(sentence);
      expect(await refusal(file.append(letters('a', 1)), 'engine-failed')).to.equal(sentence);
      await file.close();
      await engine.close();
    }
  });
});
