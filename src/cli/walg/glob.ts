// Patterns of names as Go's filepath.Match has them: `*` and `?` stay within a folder, `[a-z]` and `[^a-z]` are classes, `\` quotes.

/** The pattern as an expression for the whole name. Throws RangeError for a malformed one. */
export function globPattern(pattern: string): RegExp {
  let source = "";
  for (let at = 0; at < pattern.length; at += 1) {
    const letter = pattern[at]!;
    if (letter === "*") source += "[^/]*";
    else if (letter === "?") source += "[^/]";
    else if (letter === "\\" && at + 1 < pattern.length) source += quoted(pattern[(at += 1)]!);
    else if (letter === "[") {
      const end = pattern.indexOf("]", at + 2);
      if (end < 0) throw new RangeError(`the pattern "${pattern}" has a "[" without "]"`);
      const inside = pattern.slice(at + 1, end).replaceAll("\\", "\\\\");
      source += `[${inside}]`;
      at = end;
    } else source += quoted(letter);
  }
  try {
    return new RegExp(`^${source}$`, "su");
  } catch {
    throw new RangeError(`"${pattern}" is not a pattern`);
  }
}

/** What every match begins with. */
export function globRoot(pattern: string): string {
  const wild = pattern.search(/[*?[\\]/);
  return wild < 0 ? pattern : pattern.slice(0, wild);
}

const quoted = (letter: string): string => letter.replace(/[\\^$.*+?()[\]{}|/-]/u, "\\$&");
