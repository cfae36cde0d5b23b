import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { expect } from 'chai';
import { Checkpoint } from '../../cluster/cli/checkpoint.js';
import { type AskedSize, ClusterFile } from '../../cluster/cli/cluster-file.js';
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

  describe('of a data directory', () => {
    const claim = (asked: AskedSize = {}, cluster = 'demo') => ClusterFile.claim(directory, cluster, asked);
    const path = () => join(directory, 'cluster.json');

    it('remembers whose it is', () => {
      expect(claim().stores).to.deep.equal(['store-1', 'store-2', 'store-3']);
      expect(claim({ stores: 5 }).stores).to.have.length(5);
      expect(claim().stores).to.have.length(5);
      expect(() => claim({ stores: 3 }))
        .to.throw('holds 5 stores and cannot start with 3')
        .with.property('code', 'identity');
      expect(() => claim({ stores: 5 }, 'other')).to.throw('holds cluster "demo", not "other"');
      for (const damage of [
        '{',
        '{"cluster":"demo","stores":1e9}',
        '{"cluster":"demo","stores":3,"gone":[4]}',
      ]) {
        writeFileSync(path(), damage);
        expect(() => claim(), damage).to.throw('is damaged');
      }
    });

    it('remembers how many schedulers a cluster was made with, for good', () => {
      expect(claim({ schedulers: 3 }).schedulers).to.equal(3);
      expect(claim({ stores: 4 })).to.include({ schedulers: 3 });
      for (const schedulers of [1, 5]) {
        expect(() => claim({ schedulers }))
          .to.throw('was made with --schedulers 3')
          .with.property('code', 'identity');
      }
      writeFileSync(path(), '{"cluster":"demo","stores":3}');
      expect(claim().schedulers).to.equal(1);
    });

    it('never gives the name of a store that is gone to another', () => {
      const file = claim();
      expect(file.addStore()).to.equal('store-4');
      file.removeStore('store-4');
      file.removeStore('store-2');
      file.removeStore('store-2');
      expect(file.stores).to.deep.equal(['store-1', 'store-3']);
      expect(claim().stores).to.deep.equal(['store-1', 'store-3']);
      expect(claim({ stores: 3 }).stores).to.deep.equal(['store-1', 'store-3', 'store-5']);
    });

    it('gives the name of one that could not be started again', () => {
      const file = claim();
      file.takeBack(file.addStore());
      expect(claim().stores).to.have.length(3);
      expect(claim().addStore()).to.equal('store-4');
    });
  });
});
