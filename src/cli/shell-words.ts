// Splits words as a shell does, without expanding anything. Pure.

/** The words of `text`: quotes group, a backslash takes the next character as it is. null when a quote is never closed. */
export function splitWords(text: string): readonly string[] | null {
  const words: string[] = [];
  let word: string | null = null;
  let quote: string | null = null;
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at]!;
    if (quote !== null) {
      if (char === quote) quote = null;
      else if (char === "\\" && quote === '"' && /["\\$`]/.test(text[at + 1] ?? "")) word += text[(at += 1)]!;
      else word += char;
    } else if (char === '"' || char === "'") {
      quote = char;
      word ??= "";
    } else if (/\s/.test(char)) {
      if (word !== null) words.push(word);
      word = null;
    } else {
      word = (word ?? "") + (char === "\\" ? (text[(at += 1)] ?? "") : char);
    }
  }
  if (quote !== null) return null;
  return word === null ? words : [...words, word];
}
