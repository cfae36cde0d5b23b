/** What somebody may have meant who typed a word that is none. */

/** ` (Did you mean store-limit?)`, or nothing when no word is near. */
export function didYouMean(typed: string, words: readonly string[]): string {
  const near = words
    .map((word) => ({ word, distance: distance(typed, word) }))
    .filter(({ word, distance: far }) => far <= Math.max(1, word.length * NEAR))
    .sort((a, b) => a.distance - b.distance)[0];
  return near === undefined ? '' : ` (Did you mean ${near.word}?)`;
}

/** The part of a word's letters that may be wrong. */
const NEAR = 0.4;
/** What is longer was not mistyped; the table below grows with both words. */
const LONGEST = 64;

/** Letters to insert, delete, change, or swap with the next (Damerau and Levenshtein). */
function distance(a: string, b: string): number {
  if (a.length > LONGEST) return Number.POSITIVE_INFINITY;
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, column) => column)];
  const at = (row: number, column: number): number => rows[row]?.[column] ?? Number.POSITIVE_INFINITY;
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    rows.push(row);
    for (let j = 1; j <= b.length; j++) {
      const change = at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swap = swapped ? at(i - 2, j - 2) + 1 : Number.POSITIVE_INFINITY;
      row.push(Math.min(at(i - 1, j) + 1, at(i, j - 1) + 1, change, swap));
    }
  }
  return at(a.length, b.length);
}
