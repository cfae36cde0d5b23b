export function vectorTables(text: string): [string, unknown][] { void text; return []; }
export function runVectorTable(name: string, table: unknown): { name: string; problem: string | undefined }[] { void name; void table; return []; }
