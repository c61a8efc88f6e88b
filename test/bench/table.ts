export interface Table {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

export interface Goal {
  readonly text: string;
  readonly measured: string;
  readonly met: boolean;
}

/** What one bench found. */
export interface Section {
  readonly title: string;
  /** How it was measured and how to read it. */
  readonly about: readonly string[];
  readonly tables: readonly Table[];
  readonly goals: readonly Goal[];
}

/** For a terminal: the first column to the left, figures to the right. */
export function asText({ title, about, tables, goals }: Section): string {
  const parts = [`\n== ${title}`, ...about.map((line) => `   ${line}`)];
  for (const table of tables) {
    const all = [table.head, ...table.rows];
    const widths = table.head.map((_, i) => Math.max(...all.map((row) => (row[i] ?? '').length)));
    const line = (row: readonly string[]) =>
      row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  ');
    parts.push('', `-- ${table.title}`, ...all.map(line));
  }
  if (goals.length > 0) parts.push('');
  for (const { text, measured, met } of goals) parts.push(`${met ? 'MET    ' : 'NOT MET'}  ${text}: ${measured}`);
  return `${parts.join('\n')}\n`;
}

export function asMarkdown({ title, about, tables, goals }: Section): string {
  const row = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  const parts = [`## ${title}`, '', about.join('\n')];
  for (const { title: name, head, rows } of tables) {
    parts.push('', `### ${name}`, '', row(head), row(head.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(row));
  }
  if (goals.length > 0) parts.push('', row(['goal', 'measured', 'met']), row(['---', '---', '---']));
  for (const { text, measured, met } of goals) parts.push(row([text, measured, met ? 'yes' : '**no**']));
  return `${parts.join('\n')}\n`;
}
