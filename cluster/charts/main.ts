/** `npm run charts`: writes docs/charts/ anew. */

import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gallery } from './gallery.js';

const folder = fileURLToPath(new URL('../../../docs/charts/', import.meta.url));
const files = await gallery();
mkdirSync(folder, { recursive: true });
for (const name of readdirSync(folder)) if (!files.has(name)) rmSync(join(folder, name));
for (const [name, text] of files) writeFileSync(join(folder, name), text);
process.stderr.write(`${files.size} files written to docs/charts/\n`);
