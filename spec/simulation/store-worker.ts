/** Runs one seed after the other for the process that forked it, until that lets go. */
import { runHere, type SeedRequest } from './store-seeds.js';

process.on('message', (message) => {
  runHere(message as SeedRequest).then(
    (report) => process.send?.(report),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
