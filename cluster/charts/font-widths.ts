/**
 * Widths of text without a browser: the advance widths of Helvetica, which Arial, Liberation Sans and Nimbus Sans share
 * (Adobe's font metrics, thousandths of the font's size). A picture tells the renderer the width that was reckoned with, so
 * another font is fitted into it.
 */
export type FontWeight = 'regular' | 'bold';

/** U+0020 to U+007E. */
const REGULAR = widths(
  '278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556 556 278 278 584 584 584 556 ' +
    '1015 667 667 722 722 667 611 778 722 278 500 667 556 833 722 778 667 778 722 667 611 722 667 944 667 667 611 278 278 278 469 556 ' +
    '333 556 556 500 556 556 278 556 556 222 222 500 222 833 556 556 556 556 333 500 278 556 500 722 500 500 500 334 260 334 584',
);
const BOLD = widths(
  '278 333 474 556 556 889 722 238 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556 556 333 333 584 584 584 611 ' +
    '975 722 722 722 722 667 611 778 722 278 556 722 611 833 722 778 667 778 722 667 611 722 667 944 667 667 611 333 278 333 584 556 ' +
    '333 556 611 556 611 556 333 611 611 278 278 556 278 889 611 611 611 611 389 556 333 611 556 778 556 556 500 389 280 389 584',
);
/** Accented letters, arrows and the like. */
const OTHER = 600;
/** Han, kana, hangul, emoji: one em. */
const FULL = 1000;
const FIRST_FULL = 0x1100;

/** The width of a text at a font size, in the size's unit. */
export function textWidth(text: string, size: number, weight: FontWeight = 'regular'): number {
  const table = weight === 'bold' ? BOLD : REGULAR;
  let width = 0;
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    width += table[code - 0x20] ?? (code >= FIRST_FULL && !isPunctuation(code) ? FULL : OTHER);
  }
  return (width * size) / 1000;
}

/** U+2000 to U+2BFF: dashes, arrows, signs. */
function isPunctuation(code: number): boolean {
  return code >= 0x2000 && code < 0x2c00;
}

function widths(list: string): readonly number[] {
  return list.split(' ').map(Number);
}
