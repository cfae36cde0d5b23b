import { expect } from 'chai';
import { ActorSystemError, natsTransport } from '../../actors/index.js';
import { connect, TroupeError } from '../../cluster/index.js';

/** As a program in JavaScript, or one that spreads an object, may give them. */
function given<T>(options: Readonly<Record<string, unknown>>): T {
  return options as T;
}

describe('Options that there are not', () => {
  const CASES: readonly (readonly [unknown: string, meant: string])[] = [
    ['password', 'pass'],
    ['username', 'user'],
    ['server', 'servers'],
    ['nkey', 'nkeySeed'],
    ['inboxprefix', 'inboxPrefix'],
  ];

  it('are refused by natsTransport, with the one that may be meant', () => {
    for (const [unknown, meant] of CASES)
      expect(() => natsTransport(given({ user: 'u', [unknown]: 'x' })), unknown)
        .to.throw(ActorSystemError, `natsTransport has no option "${unknown}" (Did you mean ${meant}?)`)
        .with.property('code', 'invalid-argument');
    expect(() => natsTransport(given({ zebra: 1 }))).to.throw('it takes servers, user, pass');
    expect(() => natsTransport({ user: 'u', pass: 'p', servers: [] })).not.to.throw();
  });

  it('are refused by connect before it connects', async () => {
    for (const [unknown, meant] of [...CASES, ['scheduler', 'schedulers'], ['timeoutMs', 'timeout']]) {
      const options = given<Parameters<typeof connect>[0]>({ cluster: 'demo', [unknown ?? '']: 'x' });
      const error = await connect(options).catch((reason: unknown) => reason);
      expect(error, unknown).to.be.instanceOf(TroupeError).with.property('code', 'usage');
      expect(error).to.have.property(
        'message',
        `connect has no option "${unknown}" (Did you mean ${meant}?)`,
      );
    }
  });
});
