import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import {
  connectionSettings,
  inspectionAllowed,
  parseCount,
  parseDuration,
} from '../../cluster/cli/settings.js';
import { TroupeError } from '../../cluster/errors.js';

describe('connection settings', () => {
  let directory: string;
  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'troupe-spec-'));
  });
  after(() => rmSync(directory, { recursive: true }));

  const settings = (options: Record<string, unknown>, env: NodeJS.ProcessEnv = {}) =>
    connectionSettings(options, { XDG_CONFIG_HOME: join(directory, 'none'), ...env });

  it('have defaults', () => {
    expect(settings({})).to.deep.equal({
      nats: 'nats://127.0.0.1:4222',
      natsGiven: false,
      cluster: 'demo',
      schedulers: ['scheduler-1'],
      timeoutMs: 10_000,
      credentials: {},
    });
  });

  it('take flags over TROUPE_ variables over NATS_ variables over the file', () => {
    const config = join(directory, 'config.json');
    writeFileSync(config, JSON.stringify({ nats: 'nats://file:1', cluster: 'of-file', timeout: '3s' }));
    const env = { TROUPE_CONFIG: config, NATS_URL: 'nats://nats:1' };
    expect(settings({}, { TROUPE_CONFIG: config })).to.include({ nats: 'nats://file:1', timeoutMs: 3000 });
    expect(settings({}, env)).to.include({ nats: 'nats://nats:1', cluster: 'of-file' });
    expect(settings({}, { ...env, TROUPE_NATS: 'nats://troupe:1' }).nats).to.equal('nats://troupe:1');
    const flagged = settings(
      { nats: 'nats://flag:1', cluster: 'x' },
      { ...env, TROUPE_NATS: 'nats://troupe:1' },
    );
    expect(flagged).to.include({ nats: 'nats://flag:1', cluster: 'x', natsGiven: true });
  });

  it('read credentials as the nats tool does', () => {
    const file = join(directory, 'secret');
    writeFileSync(file, 'x');
    const env = { NATS_CREDS: file, NATS_NKEY: file, NATS_CERT: file, NATS_KEY: file, NATS_CA: file };
    expect(settings({}, env).credentials).to.deep.equal({
      creds: file,
      nkey: file,
      tlscert: file,
      tlskey: file,
      tlsca: file,
    });
    expect(settings({ user: 'ann' }, { NATS_PASSWORD: 'pw' }).credentials).to.deep.equal({
      user: 'ann',
      password: 'pw',
    });
    expect(settings({ user: 'secret-token' }).credentials).to.deep.equal({ token: 'secret-token' });
  });

  it('take user and password out of a URL, and know IPv6', () => {
    const { nats, credentials } = settings({ nats: 'nats://ann:p%40ss@[::1]:4222, tls://b.example:1' });
    expect(nats).to.equal('nats://[::1]:4222,tls://b.example:1');
    expect(credentials).to.deep.equal({ user: 'ann', password: 'p@ss' });
    expect(settings({ nats: 'nats://ann:a@b', user: 'eve', password: 'c' }).credentials).to.include({
      user: 'eve',
    });
  });

  const refused: readonly (readonly [options: Record<string, unknown>, sentence: RegExp])[] = [
    [{ cluster: 'a.b' }, /"a\.b" is not a cluster name/],
    [{ schedulers: 'a,,b' }, /"" is not a scheduler name/],
    [{ timeout: 'soon' }, /--timeout: "soon" is not a duration/],
    [{ timeout: '0s' }, /--timeout: "0s" is not a duration/],
    [{ nats: 'http://x' }, /--nats: "http:\/\/x" is not a NATS URL/],
    [{ nats: 'nats://u:secret@x y' }, /--nats: what follows is not a NATS URL/],
    [{ creds: '/does/not/exist' }, /--creds: there is no file \/does\/not\/exist/],
    [{ password: 'x' }, /--password needs --user/],
    [{ tlscert: '/dev/null' }, /--tlscert and --tlskey go together/],
    [{ config: '/does/not/exist' }, /configuration file \/does\/not\/exist does not exist/],
  ];
  for (const [options, sentence] of refused) {
    it(`refuse ${JSON.stringify(options)} with a sentence`, () => {
      expect(() => settings(options))
        .to.throw(TroupeError, sentence)
        .with.property('code', 'usage');
    });
  }

  it('refuse a configuration file that is damaged or holds what is not known', () => {
    const config = join(directory, 'bad.json');
    for (const [content, sentence] of [
      ['{', /is not JSON/],
      ['[]', /must hold one JSON object/],
      ['{"port":"1"}', /unknown setting "port"/],
      ['{"nats":1}', /"nats" in .* must be a string/],
    ] as const) {
      writeFileSync(config, content);
      expect(() => settings({ config })).to.throw(TroupeError, sentence);
    }
  });

  it('let a node be inspected unless flag, variable or file say no', () => {
    const config = join(directory, 'node.json');
    const allowed = (options: Record<string, unknown>, env: NodeJS.ProcessEnv = {}) =>
      inspectionAllowed(options, { XDG_CONFIG_HOME: join(directory, 'none'), ...env });
    expect(allowed({ inspection: true })).to.equal(true);
    expect(allowed({ inspection: false }, { TROUPE_INSPECTION: 'on' })).to.equal(false);
    expect(allowed({}, { TROUPE_INSPECTION: 'off' })).to.equal(false);
    writeFileSync(config, JSON.stringify({ inspection: 'off', cluster: 'x' }));
    expect(allowed({ config })).to.equal(false);
    expect(allowed({ config }, { TROUPE_INSPECTION: 'on' })).to.equal(true);
    expect(settings({ config }).cluster).to.equal('x');
    expect(() => allowed({}, { TROUPE_INSPECTION: 'no' })).to.throw(TroupeError, /neither on nor off/);
  });

  it('read durations and counts', () => {
    expect(parseDuration('--x', '1.5s')).to.equal(1500);
    expect(parseDuration('--x', '2')).to.equal(2000);
    expect(parseDuration('--x', '2m')).to.equal(120_000);
    expect(parseCount('--x', '7', 1, 9)).to.equal(7);
    expect(() => parseCount('--x', '10', 1, 9)).to.throw('--x: "10" is not a whole number from 1 to 9');
    expect(() => parseCount('--x', '-1')).to.throw('of at least 1');
  });
});
