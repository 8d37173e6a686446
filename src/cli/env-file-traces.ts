// Traces that an env-file parser left in a value: quotes it kept, a comment it kept, a value it cut at `#`. Pure.
// `docker run --env-file` keeps quotes and comments; Compose takes both away; `fly secrets import` cuts at the first `#` anywhere.

/** A sentence that completes "NAME …", or null. Never repeats the value: it may be a secret. */
export function mangledBy(raw: string, { quotable }: { readonly quotable: boolean }): string | null {
  if (raw.endsWith("\r")) {
    return "ends with a carriage return: the file has Windows line ends; save it with Unix ones";
  }
  const value = raw.trim();
  const first = value.slice(0, 1);
  if (!quotable && (first === '"' || first === "'")) {
    if (value.length > 1 && value.endsWith(first)) {
      return "begins and ends with a quote: `docker run --env-file` keeps quotes as part of the value; write the line without them";
    }
    if (!value.slice(1).includes(first)) {
      return "begins with a quote that is never closed: the file's reader cut it, probably at `#`; write it without quotes and without `#`";
    }
  }
  if (/\s#/.test(value)) {
    return "holds a comment: `docker run --env-file` keeps what stands behind `#`; put comments on lines of their own";
  }
  if (value.startsWith("#"))
    return "begins with `#`: other readers of the file would take it for a comment; put comments on lines of their own";
  return null;
}

/** What to know about a value that is read as it stands here, but differently elsewhere; or null. */
export function readDifferently(value: string): string | null {
  return value.includes("#")
    ? "holds `#`: `fly secrets import` would cut it there; letters, digits, `-` and `_` are safe everywhere"
    : null;
}

/** The name is there and its value is not. */
export const EMPTY_VALUE =
  "is set but empty: either leave the line out, or its value was cut at `#` by the file's reader";
