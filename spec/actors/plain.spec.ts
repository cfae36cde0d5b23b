import { expect } from 'chai';
import fc from 'fast-check';
import { plainOf } from '../../actors/index.js';

describe('what inspection shows of a value', () => {
  it('hides what is called like a secret, at any depth, and whatever a rule hides', () => {
    const value = {
      user: 'ada',
      password: 'p',
      deep: [{ apiKey: 'k', 'x-auth-token': 't', nkey: 'n' }],
      cookie: 'c',
    };
    expect(plainOf(value)).to.deep.equal({
      user: 'ada',
      password: '<redacted>',
      deep: [{ apiKey: '<redacted>', 'x-auth-token': '<redacted>', nkey: '<redacted>' }],
      cookie: '<redacted>',
    });
    const rules = [(key: string) => (key === 'user' ? '<a person>' : undefined)];
    expect(plainOf({ user: 'ada', age: 36 }, rules)).to.deep.equal({ user: '<a person>', age: 36 });
  });

  it('shows bytes as their number, and what has a class as its name', () => {
    class Core {
      readonly secretLog = ['x'];
    }
    const circular: Record<string, unknown> = {};
    circular.self = circular;
    expect(
      plainOf({
        bytes: new Uint8Array(3),
        core: new Core(),
        big: 2n ** 64n,
        none: Number.NaN,
        circular,
        at: new Map([['a', 1]]),
      }),
    ).to.deep.equal({
      bytes: '<3 bytes>',
      core: '<Core>',
      big: '18446744073709551616',
      none: 'NaN',
      circular: { self: '<circular>' },
      at: { a: 1 },
    });
  });

  it('is bounded and is JSON, whatever it is given', () => {
    fc.assert(
      fc.property(
        fc.anything({ withBigInt: true, withMap: true, withSet: true, withDate: true, maxDepth: 8 }),
        (value) => {
          const text = JSON.stringify(plainOf({ value })) ?? '';
          expect(JSON.parse(text)).to.be.an('object');
          expect(text.length).to.be.below(400 * 700);
        },
      ),
      { numRuns: 300 },
    );
    const wide = plainOf(Array.from({ length: 10_000 }, (_, i) => ({ i, text: 'x'.repeat(1000) })));
    expect(JSON.stringify(wide).length).to.be.below(20_000);
  });
});
