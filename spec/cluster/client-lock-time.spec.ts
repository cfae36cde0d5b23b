import { expect } from 'chai';
import { heartbeatTtlMs, lockTtlMs } from '../../cluster/client/txn/lock-time.js';

const MIB = 1024 * 1024;
/** What a call takes that says nothing else. */
const DEFAULT_TIMEOUT_MS = 10_000;

describe('the time to live of a lock', () => {
  for (const [bytes, ttl] of [
    [0, 3_000],
    [MIB / 4, 3_000],
    [MIB, 6_000],
    [64 * MIB, 8_000],
  ] as const)
    it(`is ${ttl} ms for ${bytes} bytes, from when it is set on`, () => {
      expect(lockTtlMs(bytes, 0)).to.equal(ttl);
      expect(lockTtlMs(bytes, 1_234)).to.equal(1_234 + ttl);
    });

  it('is over before a call that met it is, whatever its client has said before it died', () => {
    expect(lockTtlMs(1024 * MIB, 0)).to.be.below(DEFAULT_TIMEOUT_MS - 1_000);
    expect(heartbeatTtlMs(0)).to.be.below(DEFAULT_TIMEOUT_MS - 1_000);
  });
});
