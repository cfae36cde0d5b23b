/** The command line as a whole: its commands, its help, and how it ends. */

import { Command, CommanderError } from 'commander';
import { ExitCode, exitCodeOf, TroupeError } from '../errors.js';
import { notPermitted } from '../nats-permissions.js';
import { paletteFor, say } from './terminal.js';
import { version } from './version.js';

const AFTER_HELP = `
Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 conflict, 5 unavailable, 6 timeout.
Data goes to standard output, all else to standard error. Options win over environment variables, these over the
configuration file ($XDG_CONFIG_HOME/troupe/config.json).`;

type AddCommands = (program: Command) => void;

/** The files of commands with the words that each adds, as help lists them. */
const FILES: readonly (readonly [words: readonly string[], load: () => Promise<AddCommands>])[] = [
  [['up'], async () => (await import('./up.js')).addUpCommand],
  [['scale-out', 'scale-in'], async () => (await import('./scale-command.js')).addScaleCommands],
  [['scheduler', 'store'], async () => (await import('./node-command.js')).addNodeCommands],
  [['store'], async () => (await import('./store-command.js')).addStoreCommands],
  [['scheduler'], async () => (await import('./scheduler-command.js')).addSchedulerCommands],
  [['operator'], async () => (await import('./operator-command.js')).addOperatorCommands],
  [['gc'], async () => (await import('./gc-command.js')).addGcCommands],
  [['kv'], async () => (await import('./kv-command.js')).addKvCommands],
  [['txn'], async () => (await import('./txn-command.js')).addTxnCommands],
  [['mvcc'], async () => (await import('./mvcc-command.js')).addMvccCommand],
  [['status'], async () => (await import('./status-command.js')).addStatusCommand],
  [['region'], async () => (await import('./region-command.js')).addRegionCommands],
  [['deploy', 'host'], async () => (await import('./deploy-command.js')).addDeployCommands],
  [['send', 'ask', 'actors'], async () => (await import('./actor-commands.js')).addActorCommands],
  [['undeploy'], async () => (await import('./undeploy-command.js')).addUndeployCommand],
  [['chart'], async () => (await import('./chart-command.js')).addChartCommand],
  [['inspect'], async () => (await import('./inspect-command.js')).addInspectCommand],
  [['bench'], async () => (await import('./bench-command.js')).addBenchCommand],
];

/**
 * The program, ready to parse.
 * @param word the first that was typed: where it names a command, only what that one needs is loaded. A start takes a
 *   quarter of the time then. Every command when absent, or when it names none.
 */
export async function createProgram(word?: string): Promise<Command> {
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
  const named = FILES.filter(([words]) => word !== undefined && words.includes(word));
  for (const add of await Promise.all((named.length > 0 ? named : FILES).map(([, load]) => load())))
    add(program);
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
  const program = await createProgram(words[0]);
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
