/**
 * Makes the command line's files of a build into a few: of the time that a command takes to start, most goes into finding and
 * reading some hundred small ones. `node cluster/bundle.mjs DIST`; set-up's build calls it. Nothing else is bundled: who
 * imports the library reads its own files, with their types beside them.
 */
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const [dist] = process.argv.slice(2);
const home = join(dist, 'cluster/cli');

await build({
  entryPoints: {
    main: join(home, 'main.js'),
    // Started by their names, as files beside the one that starts them.
    'chart-worker': join(dist, 'cluster/inspector/chart-worker.js'),
    generator: join(dist, 'cluster/bench/generator.js'),
  },
  outdir: home,
  // The first replaces what it was made of.
  allowOverwrite: true,
  chunkNames: 'part-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  sourcemap: true,
  // Those that there must be one of in a process, that bring files of their own, or that are seldom needed and large.
  external: ['xstate', '@opentelemetry/*', 'rocksdb-native', 'pino', 'elkjs', 'tsx'],
  // What is left of CommonJS asks for Node's modules in its own way.
  banner: {
    js: "import { createRequire as requireFrom } from 'node:module';\nconst require = requireFrom(import.meta.url);",
  },
  logLevel: 'error',
});
// npm links to it where the package is installed as a link.
chmodSync(join(home, 'main.js'), 0o755);
