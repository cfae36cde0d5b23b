import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { realClock } from '../../actors/index.js';
import { NodeMetrics } from '../../cluster/operations/index.js';
import { measuresOfRole } from '../../cluster/operations/measures.js';
import { RequestTimes } from '../../cluster/store/request-times.js';

const ROOT = fileURLToPath(new URL('../../..', import.meta.url));
const read = (...parts: string[]) => readFileSync(join(ROOT, ...parts), 'utf8');

describe('The deployment files', () => {
  it('show metrics that there are', async () => {
    const labels = { cluster: 'c', node: 'n', role: 'store', version: '0' } as const;
    const metrics = new NodeMetrics(labels);
    const node = { metrics: {}, deadLetters: { counts: {} }, actorCount: 0, actors: () => [] };
    metrics.attach({
      system: node as never,
      engine: { statistics: () => Promise.reject(new Error('none')) } as never,
      measures: {},
      requestTimes: new RequestTimes(realClock),
    });
    const page = await metrics.text();
    const known = new Set([
      ...[...page.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name),
      ...measuresOfRole('scheduler', () => ({})).map(({ name }) => name),
    ]);
    const shown = [...read('deploy', 'grafana', 'troupe.json').matchAll(/\b(?:troupe|nodejs|process)_\w+/g)];
    expect(shown).to.have.length.greaterThan(30);
    const unknown = shown.map(([name]) => name).filter((name) => !known.has(name.replace(/_bucket$/, '')));
    expect([...new Set(unknown)]).to.deep.equal([]);
  });

  it('are all explained', () => {
    const explained = read('deploy', 'README.md');
    for (const folder of readdirSync(join(ROOT, 'deploy'), { withFileTypes: true })) {
      if (!folder.isDirectory()) continue;
      for (const file of readdirSync(join(ROOT, 'deploy', folder.name)))
        expect(explained).to.include(`${folder.name}/${file}`);
    }
  });

  describe('of systemd', () => {
    const UNITS = readdirSync(join(ROOT, 'deploy', 'systemd')).filter((file) => file.endsWith('.service'));

    /** A unit's environment, as systemd makes it: files win over what the unit says. */
    function environmentOf(unit: string): Map<string, string> {
      const text = read('deploy', 'systemd', unit);
      const files = [...text.matchAll(/^EnvironmentFile=\/etc\/troupe\/(.*)$/gm)];
      const lines = [
        ...[...text.matchAll(/^Environment=(.*)$/gm)].map(([, line]) => line ?? ''),
        ...files.flatMap(([, file = '']) => read('deploy', 'systemd', file).split('\n')),
      ];
      const found = new Map<string, string>();
      for (const line of lines) {
        const [, name, value] = /^(\w+)=(.*)$/.exec(line) ?? [];
        if (name !== undefined && value !== undefined) found.set(name, value);
      }
      return found;
    }

    it('start nodes that listen on ports of their own', () => {
      const readme = read('deploy', 'README.md');
      const started = [...readme.matchAll(/^systemctl enable --now (.*)$/gm)]
        .flatMap(([, words = '']) => words.split(' '))
        .map((name) => `${name.replace(/@.*/, '@')}.service`);
      expect(started).to.have.members(UNITS);
      const ports = started.map((unit) => environmentOf(unit).get('TROUPE_HTTP'));
      expect(ports).not.to.include(undefined);
      expect(new Set(ports)).to.have.property('size', started.length);
      for (const second of readme.matchAll(/`TROUPE_HTTP=(\S+)`/g)) expect(ports).not.to.include(second[1]);
    });

    it('run the program that the page installs, with a manual that comes with it', () => {
      const readme = read('deploy', 'README.md');
      const [, prefix = ''] = /^npm install --global --prefix (\S+) \.\/troupe-.*\.tgz$/m.exec(readme) ?? [];
      const { bin, files, version } = JSON.parse(read('package.json'));
      expect(readme).to.include(`./troupe-${version}.tgz`);
      for (const unit of UNITS) {
        const text = read('deploy', 'systemd', unit);
        const [, program, command] = /^ExecStart=(\S+) (\w+) /m.exec(text) ?? [];
        expect(program).to.equal(`${prefix}/bin/${Object.keys(bin)[0]}`);
        expect(unit).to.match(new RegExp(`^troupe-${command}@?\\.service$`));
        const [, manual = ''] = /^Documentation=file:(.*)$/m.exec(text) ?? [];
        const inPackage = manual.replace(`${prefix}/lib/node_modules/troupe/`, '');
        expect(files).to.include(inPackage.split('/')[0]);
        expect(existsSync(join(ROOT, inPackage)), manual).to.equal(true);
        // A node that finds no NATS ends at once: five times in ten seconds would be the last, by systemd's own limit.
        expect(text).to.match(/^StartLimitIntervalSec=0$/m);
      }
    });

    it('keep what nodes know from the code that hosts run', () => {
      const [host, store] = ['troupe-host@.service', 'troupe-store@.service'].map((unit) => ({
        text: read('deploy', 'systemd', unit),
        user: environmentOf(unit).get('TROUPE_USER'),
      }));
      expect(host?.user).to.equal('troupe-host');
      expect(store?.user).to.equal('troupe-node');
      for (const line of [/^User=.*$/m, /^StateDirectory=.*$/m])
        expect(line.exec(host?.text ?? '')?.[0]).not.to.equal(line.exec(store?.text ?? '')?.[0]);
    });

    it('are understood by systemd', function () {
      if (spawnSync('systemd-analyze', ['--version']).error !== undefined) this.skip();
      const directory = mkdtempSync(join(tmpdir(), 'troupe-units-'));
      try {
        for (const unit of UNITS) {
          const text = read('deploy', 'systemd', unit).replace(
            /^ExecStart=\S+/m,
            `ExecStart=${process.execPath}`,
          );
          writeFileSync(join(directory, unit.replace('@', '@x-1')), text);
        }
        const units = readdirSync(directory).map((unit) => join(directory, unit));
        const { stdout, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', ...units], {
          encoding: 'utf8',
        });
        const said = `${stdout}${stderr}`.split('\n').filter((line) => line.includes(directory));
        expect(said).to.deep.equal([]);
      } finally {
        rmSync(directory, { recursive: true });
      }
    });
  });

  it('name a store after its volume', () => {
    const [, script = ''] =
      /args:\n {12}- \|\n((?: {14}.*\n)+)/.exec(read('deploy', 'kubernetes', 'stores.yaml')) ?? [];
    const directory = mkdtempSync(join(tmpdir(), 'troupe-volume-'));
    try {
      const [bin, data] = [join(directory, 'bin'), join(directory, 'data')];
      mkdirSync(bin);
      const command = join(bin, 'troupe');
      writeFileSync(command, '#!/bin/sh\necho "$@"\n');
      chmodSync(command, 0o755);
      const start = (): string => {
        const { stdout, stderr, status } = spawnSync('/bin/sh', ['-ec', script.replaceAll('/data', data)], {
          env: { PATH: `${bin}:${process.env.PATH}`, POD_NAME: 'troupe-store-1' },
          encoding: 'utf8',
        });
        expect(status, stderr).to.equal(0);
        return stdout;
      };
      mkdirSync(data);
      const first = start();
      expect(first).to.match(/^store --name troupe-store-1-\d+ --data \S+\/data\/store\n$/);
      const kept = readFileSync(join(data, 'name'), 'utf8');
      expect(first).to.include(kept.trim());
      writeFileSync(join(data, 'name'), 'troupe-store-1-7\n');
      expect(start(), 'the volume says who it is').to.include('--name troupe-store-1-7 ');
      rmSync(data, { recursive: true });
      mkdirSync(data);
      expect(start(), 'a new volume').not.to.include('troupe-store-1-7 ');
      rmSync(data, { recursive: true });
      mkdirSync(data);
      // What RocksDB has in each of its directories.
      writeFileSync(join(data, 'CURRENT'), 'MANIFEST-000005\n');
      for (const time of ['first', 'second'])
        expect(start(), `the ${time} start of what the manifest before has made`).to.equal(
          `store --name troupe-store-1 --data ${data}\n`,
        );
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it('leave to images what is built in them, and no secret', () => {
    const ignored = read('.dockerignore').split('\n');
    expect(ignored).to.include.members(['**/node_modules', 'dist', '.git', '**/*.env', '**/.env']);
  });

  it('give a host of deployed actors, and their applications, what their page says', () => {
    const subjects = (text: string, user: string): string[] => {
      const from = text.indexOf(`user: ${user},`);
      expect(from, user).to.be.greaterThan(0);
      const rest = text.slice(from + 1);
      const next = rest.search(/user: /);
      return [...rest.slice(0, next < 0 ? undefined : next).matchAll(/"([^"]+)"/g)].map(
        ([, one = '']) => one,
      );
    };
    const page = read('docs', 'decisions', 'deployed-actors.md').replaceAll('troupe.demo.', 'troupe.prod.');
    const file = read('deploy', 'nats', 'troupe.conf');
    for (const user of ['troupe-host', 'troupe-app']) {
      const given = subjects(file, user);
      expect(given).to.have.length.greaterThan(4);
      expect(given).to.deep.equal(subjects(page, user));
    }
  });
});
