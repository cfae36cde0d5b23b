import { expect } from 'chai';
import { BadLine, type ImportProgress, importRecords } from '../../cluster/cli/importer.js';
import type { KvRecord } from '../../cluster/cli/ndjson.js';
import { TroupeError } from '../../cluster/errors.js';

async function* linesOf(lines: readonly string[]): AsyncGenerator<readonly Buffer[]> {
  for (let from = 0; from < lines.length; from += 100) {
    yield lines.slice(from, from + 100).map((line) => Buffer.from(line));
  }
}

function record(index: number, value = `v${index}`): string {
  return JSON.stringify({ key: `k${index}`, value });
}

/** A store that answers in its own order and can be told to fail. */
class FakeStore {
  readonly data = new Map<string, string>();
  calls = 0;
  most = 0;
  #underWay = 0;
  fault: (call: number, records: readonly KvRecord[]) => TroupeError | undefined = () => undefined;

  put = async (records: readonly KvRecord[]): Promise<void> => {
    const call = this.calls++;
    this.most = Math.max(this.most, ++this.#underWay);
    // Every third batch is overtaken by those after it.
    for (let turns = 0; turns < (call % 3 === 0 ? 20 : 1); turns++) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#underWay--;
    const fault = this.fault(call, records);
    if (fault === undefined || fault.code === 'undetermined') {
      for (const { key, value } of records) this.data.set(key.toString(), value.toString());
    }
    if (fault) throw fault;
  };
}

async function run(
  store: FakeStore,
  lines: readonly string[],
  more: { skipLines?: number; signal?: AbortSignal } = {},
) {
  const progress: ImportProgress = { acknowledgedLine: 0, records: 0 };
  let failure: unknown;
  await importRecords({
    lines: linesOf(lines),
    skipLines: more.skipLines ?? 0,
    put: store.put,
    patienceMs: 2000,
    signal: more.signal ?? new AbortController().signal,
    progress,
  }).catch((error: unknown) => {
    failure = error;
  });
  return { progress, failure };
}

describe('importing records', () => {
  const lines = Array.from({ length: 10_000 }, (_, index) => record(index));

  it('keeps many batches in flight and acknowledges every line', async () => {
    const store = new FakeStore();
    const { progress, failure } = await run(store, lines);
    expect(failure).to.equal(undefined);
    expect(store.data.size).to.equal(10_000);
    expect(progress).to.deep.equal({ acknowledgedLine: 10_000, records: 10_000 });
    expect(store.most).to.be.within(4, 16);
  });

  it('passes over blank lines and the lines of an earlier run', async () => {
    const store = new FakeStore();
    const { progress } = await run(store, ['', record(1), '  ', record(2), record(3)], { skipLines: 2 });
    expect([...store.data.keys()].sort()).to.deep.equal(['k2', 'k3']);
    expect(progress).to.deep.equal({ acknowledgedLine: 5, records: 2 });
  });

  it('sends a batch again when its outcome is unknown or the cluster is away', async () => {
    const store = new FakeStore();
    const codes = ['undetermined', 'unavailable', 'timeout'] as const;
    store.fault = (call) => {
      const code = codes[call];
      return code === undefined ? undefined : new TroupeError(code, 'try again');
    };
    const { progress, failure } = await run(store, lines.slice(0, 300));
    expect(failure).to.equal(undefined);
    expect(store.data.size).to.equal(300);
    expect(progress.records).to.equal(300);
  });

  it('lets the last value of a key win, in one batch and across batches', async () => {
    const store = new FakeStore();
    const many = [
      record(1, 'a'),
      record(1, 'b'),
      ...lines.slice(2, 2000),
      record(1, 'c'),
      ...lines.slice(2000, 4000),
    ];
    const { failure } = await run(store, many);
    expect(failure).to.equal(undefined);
    expect(store.data.get('k1')).to.equal('c');
  });

  it('stops at a bad line, says its number, and keeps what came before it', async () => {
    const store = new FakeStore();
    const { progress, failure } = await run(store, [...lines.slice(0, 700), 'not json', ...lines.slice(700)]);
    expect(failure).to.be.instanceOf(BadLine);
    expect(failure).to.have.property('message', 'line 701 is not a record: it is not JSON');
    expect(store.data.size).to.equal(700);
    expect(progress).to.deep.equal({ acknowledgedLine: 700, records: 700 });
  });

  it('finds the line of a record that the store refuses', async () => {
    const store = new FakeStore();
    store.fault = (_call, records) =>
      records.some(({ key }) => key.toString() === 'k42')
        ? new TroupeError('invalid-argument', 'The key is unlucky.')
        : undefined;
    const { failure, progress } = await run(store, lines.slice(0, 100));
    expect(failure).to.have.property('message', 'line 43 is not a record: The key is unlucky.');
    expect(progress.records).to.equal(42);
  });

  it('says no line is acknowledged while one before it is not', async () => {
    const store = new FakeStore();
    const stop = new AbortController();
    store.fault = (call) => {
      if (call !== 0) return undefined;
      stop.abort();
      return new TroupeError('unavailable', 'gone');
    };
    const { progress } = await run(store, lines, { signal: stop.signal });
    expect(progress.acknowledgedLine).to.equal(0);
    expect(progress.records).to.be.greaterThan(0);
  });

  it('gives up when nothing succeeds for as long as it was told', async () => {
    const store = new FakeStore();
    store.fault = () => new TroupeError('unavailable', 'No store answers.');
    const progress: ImportProgress = { acknowledgedLine: 0, records: 0 };
    const error = await importRecords({
      lines: linesOf(lines.slice(0, 10)),
      skipLines: 0,
      put: store.put,
      patienceMs: 1,
      signal: new AbortController().signal,
      progress,
    }).catch((reason: unknown) => reason);
    expect(error).to.have.property('code', 'unavailable');
  });
});
