import { textOf } from './display.ts';

/** One column of a table. */
export interface Column<Row> {
  readonly title: string;
  of(row: Row): unknown;
}

const GAP = '  ';
/** Of a cell, in columns of the terminal. The first column is cut only where the terminal is too narrow for it. */
const LONGEST = 60;
const NARROWEST = 8;
const CUT = '…';

/** Rows in aligned columns under their titles, with a line end each; at most `width` wide, if that is told. */
export function table<Row>(columns: readonly Column<Row>[], rows: readonly Row[], width: number | null): string {
  const lines = [
    columns.map(({ title }) => title),
    ...rows.map((row) => columns.map((column) => textOf(column.of(row)))),
  ];
  const widths = columns.map((_, i) => Math.max(...lines.map((cells) => widthOf(cells[i] ?? ''))));
  const fitted = fit(widths, width);
  return lines.map((cells) => `${lineOf(cells, fitted)}\n`).join('');
}

function lineOf(cells: readonly string[], widths: readonly number[]): string {
  return cells
    .map((cell, i) => {
      const shown = cut(cell, widths[i] ?? 0);
      return shown + ' '.repeat(Math.max(0, (widths[i] ?? 0) - widthOf(shown)));
    })
    .join(GAP)
    .trimEnd();
}

/** Takes from the widest until the line fits, or nothing more can be taken. */
function fit(wanted: readonly number[], width: number | null): number[] {
  const widths = wanted.map((one, i) => (i === 0 ? one : Math.min(one, LONGEST)));
  const most = (width ?? Number.POSITIVE_INFINITY) - GAP.length * (widths.length - 1);
  let total = widths.reduce((sum, one) => sum + one, 0);
  while (total > most) {
    const widest = Math.max(...widths);
    if (widest <= NARROWEST) break;
    widths[widths.lastIndexOf(widest)] = widest - 1;
    total--;
  }
  return widths;
}

function cut(text: string, width: number): string {
  if (widthOf(text) <= width) return text;
  let kept = '';
  let used = 0;
  for (const { segment } of graphemes.segment(text)) {
    const next = used + graphemeWidth(segment);
    if (next > width - 1) break;
    kept += segment;
    used = next;
  }
  return kept + CUT;
}

const graphemes = new Intl.Segmenter();
/** What a terminal shows in two columns (Unicode TR 11, the blocks that are in use). */
const WIDE =
  /\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/u;

/** How many columns of a terminal a text takes. */
export function widthOf(text: string): number {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the range of ASCII
  if (/^[\u0000-\u007f]*$/.test(text)) return text.length;
  let width = 0;
  for (const { segment } of graphemes.segment(text)) width += graphemeWidth(segment);
  return width;
}

function graphemeWidth(segment: string): number {
  return WIDE.test(segment) ? 2 : 1;
}
