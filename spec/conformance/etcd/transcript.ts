import { CommandError } from './command-error.js';

const LEVELS = ['DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL', 'NONE'] as const;
export type LogLevel = (typeof LEVELS)[number];

/**
 * What a case prints. This library's own log lines are not etcd's and are never printed, so of the levels only NONE
 * matters: it silences everything but errors.
 */
export class Transcript {
  level: LogLevel = 'DEBUG';
  text = '';

  get quiet(): boolean {
    return this.level === 'NONE';
  }

  /** @throws CommandError for a level that etcd does not have. */
  setLevel(name: string): void {
    const level = LEVELS.find((known) => known === name.toUpperCase());
    if (level === undefined) throw new CommandError(`log levels must be either of [${LEVELS.join(' ')}]`);
    this.level = level;
  }

  print(text: string): void {
    if (!this.quiet) this.text += text;
  }

  /** Prints what `work` prints two columns to the right, line by line. */
  indented(work: () => void): void {
    const before = this.text;
    this.text = '';
    try {
      work();
    } finally {
      const lines = this.text.split('\n');
      if (lines[lines.length - 1] === '') lines.pop();
      this.text = before + lines.map((line) => `  ${line}\n`).join('');
    }
  }
}
