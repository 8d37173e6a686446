// Headers of tar members as Go's archive/tar writes them: USTAR where everything fits, PAX records where it does not.
// https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html, "ustar Interchange Format" and "pax Header Block"

export const TAR_BLOCK_BYTES = 512;

export interface TarMember {
  /** Verbatim: WAL-G looks names up as they stand here. */
  readonly name: string;
  readonly kind: "file" | "directory";
  /** Permission bits with setuid, setgid and sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly userName: string;
  readonly groupName: string;
  readonly bytes: number;
  /** Seconds since 1970; whole ones are stored. */
  readonly mtimeSeconds: number;
}

/** Two zero blocks: the end of a tar. */
export const tarTrailer = (): Uint8Array => new Uint8Array(2 * TAR_BLOCK_BYTES);

/** Bytes behind a member's data up to the next block. */
export const paddingOf = (bytes: number): number =>
  (TAR_BLOCK_BYTES - (bytes % TAR_BLOCK_BYTES)) % TAR_BLOCK_BYTES;

/** The header block of a member, with a PAX header before it where a field does not fit. */
export function encodeTarHeader(member: TarMember): Uint8Array {
  const path = splitPath(member.name);
  const records: [string, string][] = []; // in order of their keys
  if (member.gid > MAX_ID) records.push(["gid", String(member.gid)]);
  if (path === null) records.push(["path", member.name]);
  if (member.bytes > MAX_SIZE) records.push(["size", String(member.bytes)]);
  if (member.uid > MAX_ID) records.push(["uid", String(member.uid)]);
  if (records.length === 0) return headerBlock(member, path ?? { prefix: "", name: "" }, typeOf(member));
  const body = Buffer.concat(records.map(([key, value]) => paxRecord(key, value)));
  const extended = headerBlock(
    { ...member, bytes: body.length, mode: 0, uid: 0, gid: 0, userName: "", groupName: "", mtimeSeconds: 0 },
    { prefix: "", name: paxName(member.name) },
    "x",
  );
  const short = { prefix: "", name: asciiOf(member.name).slice(0, NAME_BYTES) };
  const own = headerBlock(
    {
      ...member,
      bytes: Math.min(member.bytes, MAX_SIZE),
      uid: member.uid & MAX_ID,
      gid: member.gid & MAX_ID,
    },
    path ?? short,
    typeOf(member),
  );
  return Buffer.concat([extended, body, Buffer.alloc(paddingOf(body.length)), own]);
}

interface SplitPath {
  readonly prefix: string;
  readonly name: string;
}

/** null when the name needs a PAX record: not ASCII, or no slash where it could be cut. */
function splitPath(name: string): SplitPath | null {
  if (!isAscii(name)) return null;
  if (name.length <= NAME_BYTES) return { prefix: "", name };
  if (name.length > NAME_BYTES + PREFIX_BYTES + 1) return null;
  const cut = name.lastIndexOf("/", PREFIX_BYTES);
  const rest = name.length - cut - 1;
  if (cut <= 0 || rest > NAME_BYTES || rest === 0) return null;
  return { prefix: name.slice(0, cut), name: name.slice(cut + 1) };
}

function headerBlock(member: TarMember, path: SplitPath, type: string): Uint8Array {
  const block = Buffer.alloc(TAR_BLOCK_BYTES);
  const text = (value: string, at: number, limit: number): void =>
    void block.write(value, at, limit, "latin1");
  const octal = (value: number, at: number, digits: number): void =>
    text(value.toString(8).padStart(digits, "0"), at, digits);
  text(path.name, 0, NAME_BYTES);
  octal(member.mode & 0o7777, 100, 7);
  octal(member.uid, 108, 7);
  octal(member.gid, 116, 7);
  octal(member.bytes, 124, 11);
  octal(Math.max(0, Math.floor(member.mtimeSeconds)), 136, 11);
  block.fill(0x20, 148, 156); // the checksum counts as spaces while it is computed
  text(type, 156, 1);
  text("ustar\u000000", 257, 8);
  text(asciiOf(member.userName), 265, 31);
  text(asciiOf(member.groupName), 297, 31);
  octal(0, 329, 7);
  octal(0, 337, 7);
  text(path.prefix, 345, PREFIX_BYTES);
  let sum = 0;
  for (const byte of block) sum += byte;
  text(`${sum.toString(8).padStart(6, "0")}\u0000 `, 148, 8);
  return block;
}

/** `<length> <key>=<value>\n`, where the length counts itself. */
function paxRecord(key: string, value: string): Buffer {
  const rest = Buffer.byteLength(value) + key.length + 3;
  let length = rest + String(rest).length;
  if (rest + String(length).length !== length) length = rest + String(length).length;
  return Buffer.from(`${length} ${key}=${value}\n`, "utf8");
}

/** Go names the PAX header after the member, within a folder of its own. */
function paxName(name: string): string {
  const cut = name.lastIndexOf("/");
  const folder = cut <= 0 ? "" : `${name.slice(0, cut)}/`;
  return asciiOf(`${folder}PaxHeaders.0/${name.slice(cut + 1)}`).slice(0, NAME_BYTES);
}

const typeOf = ({ kind }: TarMember): string => (kind === "directory" ? "5" : "0");
const isAscii = (text: string): boolean => Buffer.byteLength(text) === text.length;
const asciiOf = (text: string): string => text.replaceAll(/[^\u0020-\u007e]/g, "");

const NAME_BYTES = 100;
const PREFIX_BYTES = 155;
const MAX_SIZE = 0o77777777777;
const MAX_ID = 0o7777777;
