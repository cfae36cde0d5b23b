import { CommanderError } from 'commander';
import { endQuietlyWithoutReader, say } from '../cli/terminal.js';
import { ExitCode, exitCodeOf } from '../errors.js';

/** Runs a benchmark's command line to its end; what fails is told in one line, and in the exit code. */
export async function runBench(main: (args: readonly string[]) => Promise<void>): Promise<void> {
  endQuietlyWithoutReader();
  try {
    await main(process.argv.slice(2));
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) {
      process.exitCode = ExitCode.ok;
      return;
    }
    process.exitCode = error instanceof CommanderError ? ExitCode.usage : exitCodeOf(error);
    say(`bench: ${error instanceof Error ? error.message.replace(/^error: /, '') : String(error)}`);
  }
}
