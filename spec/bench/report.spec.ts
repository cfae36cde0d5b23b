import { expect } from 'chai';
import {
  makeReport,
  markdownTable,
  reportNotes,
  reportRows,
  type SystemResult,
} from '../../cluster/bench/report.js';
import type { Measurement } from '../../cluster/bench/run.js';

function measured(opsPerSecond: number, p50: number): Measurement {
  return {
    operation: 'put',
    clients: 256,
    opsPerSecond,
    p50,
    p99: p50 * 2,
    max: p50 * 3,
    cpuMicrosPerOp: 1e6 / opsPerSecond,
    clientCpuMicrosPerOp: 1,
    writtenBytesPerOp: 1000,
    fsyncsPerOp: null,
    retriesPerOp: 0,
    errors: 0,
    firstError: null,
    disturbance: 0,
  };
}

function run(measurement: Measurement): SystemResult {
  return {
    description: 'a system',
    measurements: [measurement],
    serverResidentBytes: 3 * 2 ** 20,
    largestServerBytes: 2 ** 20,
    clientResidentBytes: 2 ** 20,
    load: [0, 0],
  };
}

describe('the report of the benchmark', () => {
  const report = makeReport(
    new Map([
      ['troupe', run(measured(60_000, 2))],
      ['etcd', run(measured(12_000, 20))],
      ['jetstream', { missing: 'nats-server is not on PATH' }],
    ]),
  );

  it('puts Troupe above 1 where Troupe is better', () => {
    expect(report.ratios.etcd).to.deep.equal([
      { peer: 'etcd', operation: 'put', clients: 256, opsPerSecond: 5, p50: 10, p99: 10, cpuPerOp: 5 },
    ]);
    expect(report.ratios.jetstream).to.deep.equal([]);
  });

  it('has a row for each system and names those that are missing', () => {
    const rows = reportRows(report);
    expect(rows.map((row) => row[2])).to.deep.equal(['system', 'troupe', 'etcd']);
    expect(rows[2]?.at(-1)).to.equal('5.00');
    expect(reportNotes(report).join('\n')).to.include('jetstream: left out, nats-server is not on PATH');
  });

  it('prints as a Markdown table', () => {
    const lines = markdownTable(reportRows(report)).split('\n');
    expect(lines).to.have.length(4);
    expect(lines[1]).to.match(/^\| --- \| --- \| --- \| ---: /);
    expect(lines[3]).to.match(/^\| put \| 256 \| etcd \| 12,000 \|/);
  });

  it('is complete as JSON', () => {
    const parsed: unknown = JSON.parse(JSON.stringify(report));
    expect(parsed).to.have.keys('machine', 'troupe', 'peers', 'ratios');
  });
});
