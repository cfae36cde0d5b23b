/** Runs one seed after the other for the process that forked it, until that lets go. */
import type { SeedRequest } from './store-seeds.js';
import { simulateStores } from './store-simulation.js';

process.on('message', (message) => {
  const { seed, bug, trouble } = message as SeedRequest;
  simulateStores({ seed, bug, ...(trouble === undefined ? {} : { trouble }) }).then(
    (report) => process.send?.(report),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
