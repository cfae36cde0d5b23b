/** `troupe store` and `troupe scheduler` run a node themselves, and have commands below them. */

import { type Command, Option } from 'commander';
import { didYouMean } from '../../actors/index.js';
import { TroupeError } from '../errors.js';

/**
 * The command of a role. Options behind the name of a command below it are that one's alone.
 * @throws Error when the program has none
 */
export function nodeGroup(program: Command, role: 'scheduler' | 'store'): Command {
  const group = program.commands.find((command) => command.name() === role);
  if (group === undefined) throw new Error(`the command ${role} is not there yet`);
  return group;
}

/** A new command below a role's. */
export function commandBelow(group: Command, name: string): Command {
  // The group takes any word, to say what is wrong with it; its commands do not.
  return group.command(name).allowExcessArguments(false);
}

/** Adds what says which node it is. They are looked at by `checkNodeOptions`: commands below the role's have no need of them. */
export function withNodeOptions(command: Command): Command {
  return command
    .addOption(new Option('--name <name>', 'name of this node, unique in the cluster'))
    .addOption(new Option('--data <dir>', 'directory for its data, made if absent'));
}

/** @throws TroupeError `usage` for a word that is neither an option nor a command below, or when name or data are not given */
export function checkNodeOptions<T extends { readonly name?: string; readonly data?: string }>(
  options: T,
  command: Command,
): T & { readonly name: string; readonly data: string } {
  const { name, data } = options;
  const [word] = command.args;
  if (word !== undefined) {
    const isOption = word.startsWith('-');
    const words = isOption
      ? command.options.map(({ long }) => long ?? '')
      : command.commands.map((one) => one.name());
    const suggestion = didYouMean(word, words) || ' (--help shows what there is)';
    throw new TroupeError('usage', `unknown ${isOption ? 'option' : 'command'} '${word}'${suggestion}`);
  }
  if (name === undefined) throw missing('--name <name>');
  if (data === undefined) throw missing('--data <dir>');
  return { ...options, name, data };
}

function missing(option: string): TroupeError {
  return new TroupeError('usage', `required option '${option}' not specified (--help shows what there is)`);
}
