import { expect } from 'chai';
import type { SystemResult } from '../../cluster/bench/report.js';
import type { Measurement } from '../../cluster/bench/run.js';
import { pairRatios, pairRows, scanRowsOf } from '../../cluster/bench/txn-report.js';

function run(opsPerSecond: number, clients = 64): SystemResult {
  const measurement: Measurement = {
    operation: 'rmw2',
    clients,
    opsPerSecond,
    p50: 1,
    p99: 2,
    max: 3,
    cpuMicrosPerOp: 100,
    clientCpuMicrosPerOp: 10,
    writtenBytesPerOp: 1000,
    fsyncsPerOp: 0.125,
    retriesPerOp: 0.01,
    errors: 0,
    firstError: null,
    disturbance: 0,
  };
  return {
    description: 'a system',
    measurements: [measurement],
    serverResidentBytes: 0,
    largestServerBytes: 0,
    clientResidentBytes: 0,
    load: [0, 0],
  };
}

describe('the report of transactions', () => {
  it("divides Troupe's transactions a second by etcd's, for each place of the keys", () => {
    expect(pairRatios({ one: run(4_400), two: run(1_500) }, run(4_000))).to.deep.equal([
      { regions: 'one', clients: 64, ratio: 1.1, target: 1 },
      { regions: 'two', clients: 64, ratio: 0.38, target: 0.5 },
    ]);
  });

  it('has no ratio where there is nothing to compare with', () => {
    expect(pairRatios({ one: run(4_400, 1) }, run(4_000))).to.deep.equal([]);
    expect(pairRatios({ one: run(4_400) }, { missing: 'etcd is not on PATH' })).to.deep.equal([]);
    expect(pairRatios({ one: { failed: 'no leader' } }, run(4_000))).to.deep.equal([]);
    expect(pairRatios({ one: run(4_400) }, undefined)).to.deep.equal([]);
    expect(pairRatios({ one: run(4_400) }, run(0))).to.deep.equal([]);
  });

  it('has a row for each system, all as long as the heading', () => {
    const troupe = { one: run(4_400), two: run(1_500) };
    const etcd = run(4_000);
    const rows = pairRows({ troupe, etcd, ratios: pairRatios(troupe, etcd) });
    expect(rows.map((row) => row.slice(0, 4))).to.deep.equal([
      ['two keys', 'clients', 'system', 'txn/s'],
      ['in one region', '64', 'troupe', '4,400'],
      ['in two regions', '64', 'troupe', '1,500'],
      ['', '64', 'etcd', '4,000'],
    ]);
    expect(rows.map((row) => row.slice(-2))).to.deep.equal([
      ["÷ etcd's", 'target'],
      ['1.10', '1.0'],
      ['0.38', '0.5'],
      ['', ''],
    ]);
    expect(new Set(rows.map((row) => row.length)).size).to.equal(1);
  });

  it('tells the median of scans, and the slowest and fastest', () => {
    const rows = scanRowsOf([
      { keys: 60_000, valueBytes: 64, keysPerSecond: [90_000, 120_000, 110_000] },
      { keys: 60_000, valueBytes: 256, keysPerSecond: [70_000, 90_000] },
    ]);
    expect(rows.slice(1)).to.deep.equal([
      ['60,000 keys', '64', '3', '110,000', '90,000', '120,000', '100,000'],
      ['60,000 keys', '256', '2', '70,000', '70,000', '90,000', '100,000'],
    ]);
  });
});
