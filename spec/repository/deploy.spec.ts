import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { NodeMetrics } from '../../cluster/operations/index.js';
import { measuresOfRole } from '../../cluster/operations/measures.js';

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
});
