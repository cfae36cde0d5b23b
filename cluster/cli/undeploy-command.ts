/** `troupe undeploy`: the end of a deployed actor, and with `--purge` of what it has left anywhere. */

import type { Command } from 'commander';
import type { ActorClient } from '../deploy/client.js';
import { TroupeError } from '../errors.js';
import { withActors } from './actor-commands.js';
import { checkToken, connectionSettings, withConnection } from './settings.js';
import { say } from './terminal.js';

interface UndeployFlags extends Readonly<Record<string, unknown>> {
  readonly purge?: boolean;
}

export function addUndeployCommand(program: Command): void {
  withConnection(
    program
      .command('undeploy')
      .summary('end a deployed actor')
      .description(
        'Ends a deployed actor and gives its name up. Its state stays on its host for the next one of the name, unless --purge removes it.\n\nExamples:\n  troupe undeploy counter\n  troupe undeploy counter --purge',
      )
      .argument('<NAME>', "the actor's name")
      .option('--purge', 'remove its state too, from every host that keeps one'),
  ).action(undeploy);
}

async function undeploy(name: string, flags: UndeployFlags): Promise<void> {
  checkToken('actor', name);
  const { cluster } = connectionSettings(flags);
  await withActors(flags, async (client) => {
    if (flags.purge === true) return say(sentenceOf(await purgeEverywhere(client, name, cluster)));
    await client.undeploy(name, false);
    say(`${name} is no more; its host keeps its state.`);
  });
}

/** What `undeploy --purge` has come to. */
export interface PurgeOutcome {
  readonly name: string;
  /** It was deployed, and is no longer. */
  readonly ended: boolean;
  /** Where a state of it was removed: `on host-1`. */
  readonly removed: readonly string[];
  /** Why a state may have stayed. */
  readonly refused: readonly TroupeError[];
}

/** A name that was deployed on one host after the other has a state on each. */
async function purgeEverywhere(client: ActorClient, name: string, cluster: string): Promise<PurgeOutcome> {
  const removed: string[] = [];
  const refused: TroupeError[] = [];
  let ended = true;
  try {
    const { host } = await client.undeploy(name, true);
    removed.push(`on ${host ?? 'its host'}`);
  } catch (error) {
    if (!(error instanceof TroupeError) || error.code !== 'not-found') throw error;
    ended = false;
  }
  try {
    const left = await client.purge(name);
    removed.push(...left.removed.map((host) => `on ${host}`));
    refused.push(...left.refused);
  } catch (error) {
    if (!(error instanceof TroupeError)) throw error;
    refused.push(error);
  }
  const { purgeLeft } = await import('./deploy-command.js');
  try {
    if (await purgeLeft(cluster, name)) removed.push('in the usual directory here');
  } catch (error) {
    if (!(error instanceof TroupeError)) throw error;
    // A command that has just been ended has its directory for a moment yet, and has removed the state itself.
    if (!ended || error.code !== 'conflict') refused.push(error);
  }
  return { name, ended, removed, refused };
}

/**
 * The sentence for whoever asked.
 * @throws TroupeError with the code of what was refused first; `not-found` where there was nothing
 */
export function sentenceOf({ name, ended, removed, refused }: PurgeOutcome): string {
  const [first] = refused;
  if (first !== undefined) {
    const reasons = refused.map(({ message }) => message).join('; ');
    const done = removed.length === 0 ? '' : ` (its state is removed ${listed(removed)})`;
    const sentence = `${name} is ${ended ? 'no more, but ' : ''}not wholly purged: ${reasons}${done}`;
    throw new TroupeError(first.code, sentence, { cause: first });
  }
  if (!ended && removed.length === 0) {
    throw new TroupeError(
      'not-found',
      `no actor named ${name} is deployed, and neither a host that answers nor the usual directory here keeps a state of it; what was deployed with --data is in that directory`,
    );
  }
  const states = removed.length > 1 ? `nor are its states ${listed(removed)}` : 'nor is its state';
  return `${name} is no more, ${states}.`;
}

function listed(places: readonly string[]): string {
  const last = places.at(-1) ?? '';
  return places.length < 2 ? last : `${places.slice(0, -1).join(', ')} and ${last}`;
}
