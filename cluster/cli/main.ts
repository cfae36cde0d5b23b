#!/usr/bin/env -S UV_THREADPOOL_SIZE=16 node --max-semi-space-size=16
import { standWhereTheUserIs } from './npm-script.js';
import { run } from './program.js';
import { endQuietlyWithoutReader } from './terminal.js';

standWhereTheUserIs();
endQuietlyWithoutReader();
await run(process.argv.slice(2));
