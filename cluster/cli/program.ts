/** The command line as a whole: its commands, its help, and how it ends. */

import { Command, CommanderError } from 'commander';
import { ExitCode, exitCodeOf, TroupeError } from '../errors.js';
import { notPermitted } from '../nats-permissions.js';
import { addActorCommands } from './actor-commands.js';
import { addBenchCommand } from './bench-command.js';
import { addChartCommand } from './chart-command.js';
import { addDeployCommands } from './deploy-command.js';
import { addGcCommands } from './gc-command.js';
import { addInspectCommand } from './inspect-command.js';
import { addKvCommands } from './kv-command.js';
import { addMvccCommand } from './mvcc-command.js';
import { addNodeCommands } from './node-command.js';
import { addOperatorCommands } from './operator-command.js';
import { addRegionCommands } from './region-command.js';
import { addScaleCommands } from './scale-command.js';
import { addSchedulerCommands } from './scheduler-command.js';
import { addStatusCommand } from './status-command.js';
import { addStoreCommands } from './store-command.js';
import { paletteFor, say } from './terminal.js';
import { addTxnCommands } from './txn-command.js';
import { addUndeployCommand } from './undeploy-command.js';
import { addUpCommand } from './up.js';
import { version } from './version.js';

const AFTER_HELP = `
Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 conflict, 5 unavailable, 6 timeout.
Data goes to standard output, all else to standard error. Options win over environment variables, these over the
configuration file ($XDG_CONFIG_HOME/troupe/config.json).`;

/** Every command, ready to parse. */
export function createProgram(): Command {
  const program = new Command('troupe')
    .description(
      'A replicated key-value store whose parts are statecharts that talk over NATS.\n\nExamples:\n  troupe up                      a whole cluster on this machine\n  troupe kv put hello world\n  troupe kv get hello\n  troupe status',
    )
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .showSuggestionAfterError()
    // What stands behind a command's name is that one's: `store --name …` runs a node, `store list` does not.
    .enablePositionalOptions()
    .addHelpText('after', AFTER_HELP);
  addUpCommand(program);
  addScaleCommands(program);
  addNodeCommands(program);
  addStoreCommands(program);
  addSchedulerCommands(program);
  addOperatorCommands(program);
  addGcCommands(program);
  addKvCommands(program);
  addTxnCommands(program);
  addMvccCommand(program);
  addStatusCommand(program);
  addRegionCommands(program);
  addDeployCommands(program);
  addActorCommands(program);
  addUndeployCommand(program);
  addChartCommand(program);
  addInspectCommand(program);
  addBenchCommand(program);
  settle(program);
  return program;
}

/** Errors become exceptions, and one line with a hint. */
function settle(command: Command): void {
  command.exitOverride().configureOutput({ outputError: () => {} });
  for (const child of command.commands) settle(child);
}

/**
 * Runs one invocation and sets `process.exitCode`.
 * @param words what follows the program's name
 */
export async function run(words: readonly string[]): Promise<void> {
  const program = createProgram();
  try {
    if (words.length === 0) {
      program.outputHelp({ error: true });
      process.exitCode = ExitCode.usage;
      return;
    }
    await program.parseAsync(words, { from: 'user' });
  } catch (error) {
    conclude(error);
  }
}

function conclude(thrown: unknown): void {
  // A sentence for a person stays as it is.
  const error = thrown instanceof TroupeError ? thrown : (notPermitted(thrown) ?? thrown);
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return;
    process.exitCode = ExitCode.usage;
    // `troupe kv` alone has shown its help.
    if (error.code === 'commander.help') return;
    const [sentence = '', suggestion] = error.message.replace(/^error: /, '').split('\n');
    complain(`${sentence}${suggestion === undefined ? ' (--help shows what there is)' : ` ${suggestion}`}`);
    return;
  }
  process.exitCode = exitCodeOf(error);
  complain(error instanceof Error ? error.message : String(error));
  if (process.env.TROUPE_DEBUG && error instanceof Error) say(error.stack ?? '');
  else if (!(error instanceof TroupeError))
    say('This is a fault of the program; TROUPE_DEBUG=1 shows where.');
}

function complain(sentence: string): void {
  say(`${paletteFor(process.stderr).red('troupe:')} ${sentence}`);
}
