/**
 * Pearson's statistic of counts against what was expected of them, and the value that it exceeds by chance once in a
 * thousand times (Wilson and Hilferty's approximation). Cells of which fewer than five were expected are taken together.
 */
export function chiSquare(
  counts: readonly number[],
  shares: readonly number[],
): { statistic: number; critical: number } {
  const total = counts.reduce((sum, count) => sum + count, 0);
  let statistic = 0;
  let cells = 0;
  let rareCount = 0;
  let rareExpected = 0;
  const add = (count: number, expected: number): void => {
    statistic += (count - expected) ** 2 / expected;
    cells++;
  };
  for (const [cell, share] of shares.entries()) {
    const expected = share * total;
    const count = counts[cell] ?? 0;
    if (expected >= 5) {
      add(count, expected);
      continue;
    }
    rareCount += count;
    rareExpected += expected;
  }
  if (rareExpected > 0) add(rareCount, rareExpected);
  const freedom = cells - 1;
  const ONE_IN_A_THOUSAND = 3.0902;
  const critical = freedom * (1 - 2 / (9 * freedom) + ONE_IN_A_THOUSAND * Math.sqrt(2 / (9 * freedom))) ** 3;
  return { statistic, critical };
}
