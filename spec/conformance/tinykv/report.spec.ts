import { expect } from 'chai';
import { NAMES } from './graded.js';
import { countPart } from './report.js';

const titles = (...names: string[]) => names.map((title) => ({ title }));

describe('TinyKV report', () => {
  it('counts graded tests once, and nothing else', () => {
    const passes = titles(
      "TestRawNodeStart2AC (etcd's rule)",
      "TestRawNodeStart2AC (etcd's rule)",
      'TestBasic2B',
      'beyond TinyKV',
    );
    expect(countPart('2AC', { passes, failures: [], pending: [] }, false)).to.deep.equal({
      part: '2AC',
      passed: 1,
      total: 2,
      failed: 0,
    });
  });

  it('tells what failed, what was skipped, and where part 2B ran', () => {
    const outcome = {
      passes: titles('TestBasic2B'),
      failures: [{ title: 'TestConcurrent2B', err: { message: 'a put was lost' } }],
      pending: titles('TestUnreliable2B'),
    };
    expect(countPart('2B', outcome, true)).to.deep.equal({
      part: '2B',
      passed: 1,
      total: 11,
      failed: 1,
      note: 'over real NATS and RocksDB\nfailed: TestConcurrent2B: a put was lost\nskipped: TestUnreliable2B',
    });
  });

  it('names the tests of a part that are not there yet, in whichever of its files they belong', () => {
    const [first = '', ...others] = NAMES['2C'] ?? [];
    const report = countPart('2C', { passes: titles(first), failures: [], pending: [] }, false);
    expect(report).to.deep.equal({
      part: '2C',
      passed: 1,
      total: 13,
      failed: 0,
      note: `on virtual time\nmissing: ${others.join(', ')}`,
    });
  });

  it('counts nothing of a part whose specs ended early', () => {
    expect(countPart('1', 'the specs ended early: out of memory', false)).to.deep.equal({
      part: '1',
      passed: 0,
      total: 10,
      failed: 1,
      note: 'the specs ended early: out of memory',
    });
  });
});
