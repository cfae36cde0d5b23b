import { expect } from 'chai';
import { type Engine, installRegionSnapshot, type KeyRange, snapshotFileName } from '../../storage/index.js';
import {
  BEFORE,
  bytes,
  chunksFor,
  contents,
  fill,
  IDENTITY,
  memory,
  noPause,
  pair,
  REGION,
  writeAside,
} from './region-data.js';
import { refusal } from './side-files-compliance.js';

const NAME = snapshotFileName(IDENTITY);

describe('Installing a region snapshot refuses, and changes nothing', () => {
  let engine: Engine;
  let before: string[];

  beforeEach(async () => {
    engine = await memory();
    await fill(engine, BEFORE);
    before = await contents(engine);
  });

  afterEach(async () => {
    expect(await contents(engine)).to.deep.equal(before);
  });

  const install = (within: KeyRange = REGION, name = NAME) =>
    refusal(installRegionSnapshot(engine, name, within, noPause), 'corrupt-snapshot');

  async function overwrite(content: Uint8Array, name = NAME): Promise<void> {
    const file = await engine.files.open(name);
    await file.truncate(0);
    await file.append(content);
    await file.close();
  }

  async function small(): Promise<Buffer> {
    await writeAside(
      engine.files,
      await chunksFor([pair('default', 'rb', '1'), pair('write', 'rc', '2')], REGION),
    );
    const [file] = await engine.files.list();
    return Buffer.from(await engine.files.read(NAME, 0, file?.length ?? 0));
  }

  it('a file with any bit flipped', async () => {
    const whole = await small();
    for (let bit = 0; bit < whole.length * 8; bit++) {
      const damaged = Buffer.from(whole);
      damaged[bit >> 3] = (damaged[bit >> 3] as number) ^ (1 << (bit & 7));
      await overwrite(damaged);
      expect(await install()).to.match(/Discard this snapshot and ask the leader for another one\.$/);
    }
  });

  it('a file that is cut off anywhere, or longer', async () => {
    const whole = await small();
    for (let length = 0; length < whole.length; length++) {
      await overwrite(whole.subarray(0, length));
      await install();
    }
    for (const more of [Buffer.alloc(1), Buffer.alloc(100), whole.subarray(44)]) {
      await overwrite(Buffer.concat([whole, more]));
      await install();
    }
  });

  it('a file of another region or another moment', async () => {
    const whole = await small();
    for (const other of [
      { ...IDENTITY, region: 8 },
      { ...IDENTITY, peer: 1 },
      { ...IDENTITY, index: 1235 },
      { ...IDENTITY, term: 4 },
    ]) {
      const name = snapshotFileName(other);
      await overwrite(whole, name);
      expect(await install(REGION, name)).to.include('holds a snapshot of region 7 at 1234');
    }
    await overwrite(whole, 'other.snapshot');
    expect(await install(REGION, 'other.snapshot')).to.include('not a snapshot file');
  });

  it('data outside the range', async () => {
    await small();
    expect(await install({ start: bytes('rb'), end: bytes('rc') })).to.include('"rc" is not of this region');
    await install({ start: bytes('rb1'), end: bytes('rd') });
  });

  it('a file that is absent', async () => {
    await refusal(installRegionSnapshot(engine, NAME, REGION, noPause), 'not-found');
  });

  it('when a pause throws while the file is checked', async () => {
    await small();
    const stop = async () => {
      throw new Error('no longer wanted');
    };
    const error = await installRegionSnapshot(engine, NAME, REGION, stop).catch((cause: unknown) => cause);
    expect((error as Error).message).to.equal('no longer wanted');
  });
});
