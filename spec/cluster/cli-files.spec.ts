import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { Checkpoint } from '../../cluster/cli/checkpoint.js';
import { claimDirectory } from '../../cluster/cli/cluster-file.js';
import { ExportFile } from '../../cluster/cli/export-file.js';
import { openLines } from '../../cluster/cli/lines.js';

describe('files of the command line', () => {
  let directory: string;
  let state: string | undefined;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'troupe-spec-'));
    state = process.env.XDG_STATE_HOME;
    process.env.XDG_STATE_HOME = join(directory, 'state');
  });
  afterEach(() => {
    if (state === undefined) delete process.env.XDG_STATE_HOME;
    else process.env.XDG_STATE_HOME = state;
    rmSync(directory, { recursive: true });
  });

  async function readLines(content: Uint8Array): Promise<string[]> {
    const path = join(directory, 'lines');
    writeFileSync(path, content);
    const lines: string[] = [];
    for await (const some of openLines(path).lines) lines.push(...some.map(String));
    return lines;
  }

  const text = Array.from({ length: 50_000 }, (_, index) => `line ${index} ${'x'.repeat(index % 50)}`);

  it('reads lines, plain and packed, with and without the last line end', async () => {
    const plain = Buffer.from(text.join('\n'));
    expect(await readLines(plain)).to.deep.equal(text);
    expect(await readLines(gzipSync(`${text.join('\n')}\n`))).to.deep.equal(text);
    expect(await readLines(Buffer.alloc(0))).to.deep.equal([]);
    const members = Buffer.concat([gzipSync('a\nb'), gzipSync('c\n')]);
    expect(await readLines(members)).to.deep.equal(['a', 'bc']);
  });

  it('says when gzip is cut off, and when a file is not there', async () => {
    const error = await readLines(gzipSync(text.join('\n')).subarray(0, 2000)).catch(
      (reason: unknown) => reason,
    );
    expect(error).to.have.property('code', 'failed');
    expect(error)
      .to.have.property('message')
      .that.matches(/is not whole gzip/);
    expect(() => openLines(join(directory, 'absent')))
      .to.throw('there is no such file')
      .with.property('code', 'usage');
    expect(() => openLines(directory)).to.throw('it is a directory');
  });

  it('keeps checkpoints apart and survives a damaged one', () => {
    const one = new Checkpoint(['import', '/a', 'demo']);
    const other = new Checkpoint(['import', '/b', 'demo']);
    expect(one.write({ line: 7 })).to.equal(true);
    expect(one.read()).to.deep.equal({ line: 7 });
    expect(other.read()).to.equal(undefined);
    one.remove();
    expect(one.read()).to.equal(undefined);
  });

  it('goes on with an export where its checkpoint says, whatever was written behind it', async () => {
    const path = join(directory, 'out.gz');
    const first = new ExportFile(path, ['demo'], false);
    await first.write(gzipSync('a\n'), Buffer.from('a'), 1);
    await first.write(gzipSync('b\n'), Buffer.from('b'), 2);
    writeFileSync(`${path}.partial`, 'half a segment', { flag: 'a' });

    const second = new ExportFile(path, ['demo'], true);
    expect(second.lastKey?.toString()).to.equal('b');
    expect(second.records).to.equal(2);
    await second.write(gzipSync('c\n'), Buffer.from('c'), 3);
    second.finish();
    expect(gunzipSync(readFileSync(path)).toString()).to.equal('a\nb\nc\n');

    const fresh = new ExportFile(path, ['demo'], true);
    expect(fresh.lastKey).to.equal(undefined);
  });

  it('remembers whose a data directory is', () => {
    const schedulers = 1;
    expect(claimDirectory(directory, 'demo', {})).to.deep.equal({ stores: 3, schedulers });
    expect(claimDirectory(directory, 'demo', { stores: 5 })).to.deep.equal({ stores: 5, schedulers });
    expect(claimDirectory(directory, 'demo', {})).to.deep.equal({ stores: 5, schedulers });
    expect(() => claimDirectory(directory, 'demo', { stores: 3 }))
      .to.throw('holds 5 stores and cannot start with 3')
      .with.property('code', 'identity');
    expect(() => claimDirectory(directory, 'other', { stores: 5 })).to.throw(
      'holds cluster "demo", not "other"',
    );
    writeFileSync(join(directory, 'cluster.json'), '{');
    expect(() => claimDirectory(directory, 'demo', {})).to.throw('is damaged');
  });

  it('remembers how many schedulers a cluster was made with, for good', () => {
    expect(claimDirectory(directory, 'demo', { schedulers: 3 })).to.deep.equal({ stores: 3, schedulers: 3 });
    expect(claimDirectory(directory, 'demo', { stores: 4 })).to.deep.equal({ stores: 4, schedulers: 3 });
    for (const schedulers of [1, 5]) {
      expect(() => claimDirectory(directory, 'demo', { schedulers }))
        .to.throw('was made with --schedulers 3')
        .with.property('code', 'identity');
    }
    writeFileSync(join(directory, 'cluster.json'), '{"cluster":"demo","stores":3}');
    expect(claimDirectory(directory, 'demo', {}).schedulers).to.equal(1);
  });
});
