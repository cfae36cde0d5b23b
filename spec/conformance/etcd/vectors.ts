import type { TableRunner } from './check.js';
import { LOG_TABLES } from './vectors-log.js';
import { TABLE_PARTS } from './vectors-parts.js';
import { ROLE_TABLES } from './vectors-role.js';

/** Level 1: the tables of numbers that stand in unit-vectors.json, one runner for each table. */

const RUNNERS: Record<string, TableRunner> = { ...LOG_TABLES, ...ROLE_TABLES, ...TABLE_PARTS };

/** Every table by name; the entry that describes the file is left out. */
export function vectorTables(text: string): [string, unknown][] {
  const tables: Record<string, unknown> = JSON.parse(text);
  return Object.entries(tables).filter(([name]) => name !== '_about');
}

export function runVectorTable(
  name: string,
  table: unknown,
): { name: string; problem: string | undefined }[] {
  const runner = RUNNERS[name];
  if (runner === undefined) return [{ name, problem: 'not supported' }];
  return runner(table as never).map((run, i) => {
    try {
      run();
      return { name: `${name} ${i}`, problem: undefined };
    } catch (error) {
      return { name: `${name} ${i}`, problem: error instanceof Error ? error.message : String(error) };
    }
  });
}
