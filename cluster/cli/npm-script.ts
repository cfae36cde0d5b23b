/** `npm run troupe` in a checkout: npm runs scripts in the folder of the package, wherever the user stands. */

import { fileURLToPath } from 'node:url';

const PACKAGE = fileURLToPath(new URL('../../../package.json', import.meta.url));

/** Goes back to the user's folder, so that paths mean what they say. Only for the script `troupe` of this package. */
export function standWhereTheUserIs(env: NodeJS.ProcessEnv = process.env): void {
  const { INIT_CWD: folder, npm_lifecycle_event: script, npm_package_json: file } = env;
  if (folder === undefined || script !== 'troupe' || file !== PACKAGE) return;
  process.chdir(folder);
}
