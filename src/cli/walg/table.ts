// The two shapes in which WAL-G prints lists: a framed table and padded columns.

export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
}

/** A framed table with upper-case titles, each line ended by a newline. */
export function framedTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const titles = columns.map((column) => column.title.toUpperCase());
  const widths = widthsOf(titles, rows);
  const rule = `+${widths.map((width) => "-".repeat(width + 2)).join("+")}+\n`;
  const line = (cells: readonly string[]): string =>
    `|${cells.map((cell, at) => ` ${pad(cell, widths[at]!, columns[at]!.align)} `).join("|")}|\n`;
  return [rule, line(titles), rule, ...rows.map(line), ...(rows.length === 0 ? [] : [rule])].join("");
}

/** Columns padded with spaces, one space apart. `padLast`: the last one of the rows too, with two spaces behind it, as `st ls` does. */
export function paddedColumns(
  titles: readonly string[],
  rows: readonly (readonly string[])[],
  padLast = false,
): string {
  const widths = widthsOf(titles, rows);
  const line = (cells: readonly string[], padAll: boolean): string => {
    const padded = cells.map((cell, at) =>
      at < cells.length - 1 || padAll ? cell.padEnd(widths[at]!) : cell,
    );
    return `${padded.join(" ")}${padAll ? "  " : ""}\n`;
  };
  return line(titles, false) + rows.map((row) => line(row, padLast)).join("");
}

function widthsOf(titles: readonly string[], rows: readonly (readonly string[])[]): readonly number[] {
  return titles.map((title, at) => Math.max(title.length, ...rows.map((row) => row[at]!.length)));
}

const pad = (text: string, width: number, align: "left" | "right" = "left"): string =>
  align === "right" ? text.padStart(width) : text.padEnd(width);
