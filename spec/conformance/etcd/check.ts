import { deepStrictEqual } from 'node:assert';

/** Throws where a case is not met. */
export type CaseRunner = () => void;

/** Makes the cases of one table. The data is the project's own transcription: its form is known. */
export type TableRunner = (table: never) => CaseRunner[];

export function same(actual: unknown, expected: unknown, what = 'result'): void {
  deepStrictEqual(
    actual,
    expected,
    `${what}: ${JSON.stringify(actual)} instead of ${JSON.stringify(expected)}`,
  );
}
