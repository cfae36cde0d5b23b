import { expect } from 'chai';
import type { BenchKey, Driver } from '../../cluster/bench/driver.js';
import { benchKeys, benchValue, preload, runPhase } from '../../cluster/bench/workload.js';

/** A system in memory that notes how many requests were under way together. */
class MemoryDriver implements Driver {
  readonly data = new Map<string, Uint8Array>();
  puts = 0;
  gets = 0;
  most = 0;
  #underWay = 0;

  async put({ text }: BenchKey, value: Uint8Array): Promise<void> {
    this.puts++;
    await this.#turn();
    this.data.set(text, value);
  }

  async get({ text }: BenchKey): Promise<Uint8Array | undefined> {
    this.gets++;
    await this.#turn();
    return this.data.get(text);
  }

  async close(): Promise<void> {}

  async #turn(): Promise<void> {
    this.most = Math.max(this.most, ++this.#underWay);
    await new Promise((resolve) => setImmediate(resolve));
    this.#underWay--;
  }
}

const PHASE = { warmupSeconds: 0.01, seconds: 0.1, valueBytes: 256 };
const MARKS = { began() {}, ended() {} };

describe('the workload of the benchmark', () => {
  it('has keys of 16 bytes, all different, and values that repeat in every run', () => {
    const keys = benchKeys(10_000);
    expect(new Set(keys.map(({ text }) => text)).size).to.equal(10_000);
    expect(keys.every(({ bytes }) => bytes.length === 16)).to.equal(true);
    expect(benchValue(7, 256)).to.deep.equal(benchValue(7, 256)).and.have.length(256);
    expect(benchValue(7, 256)).not.to.deep.equal(benchValue(8, 256));
  });

  it('keeps one request in flight for each client', async () => {
    const driver = new MemoryDriver();
    const keys = benchKeys(100);
    await preload(driver, keys, 256);
    expect(driver.data.size).to.equal(100);
    driver.most = 0;
    const result = await runPhase(driver, keys, { ...PHASE, operation: 'get', clients: 7 }, MARKS);
    expect(driver.most).to.equal(7);
    expect(result.operations).to.be.greaterThan(0);
    expect(result.operations).to.be.at.most(driver.gets);
    expect(result.p50).to.be.at.most(result.p99);
    expect(result.errors).to.equal(0);
  });

  it('mixes 95 gets with 5 puts', async () => {
    const driver = new MemoryDriver();
    const keys = benchKeys(100);
    await preload(driver, keys, 256);
    driver.puts = 0;
    await runPhase(driver, keys, { ...PHASE, operation: 'mix', clients: 64 }, MARKS);
    expect(driver.puts / (driver.puts + driver.gets)).to.be.within(0.02, 0.08);
  });

  it('counts a missing value as an error and says which key', async () => {
    const result = await runPhase(
      new MemoryDriver(),
      benchKeys(1),
      { ...PHASE, operation: 'get', clients: 1 },
      MARKS,
    );
    expect(result.operations).to.equal(0);
    expect(result.errors).to.be.greaterThan(0);
    expect(result.firstError).to.equal('key-000000000000 came back wrong');
  });
});
