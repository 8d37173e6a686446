// A small assembler for WebAssembly text: folded expressions, integers, one imported memory. It spares the project a toolchain for two files.
// https://webassembly.github.io/spec/core/binary/index.html

type Node = string | readonly Node[];

/** The bytes of a module. Throws Error on what it does not know. */
export function assemble(source: string): Uint8Array {
  const [root] = parse(source);
  if (root === undefined || typeof root === "string" || root[0] !== "module") throw new Error("not a module");
  const fields = root.slice(1).filter((field) => typeof field !== "string");
  const memory = fields.find((field) => field[0] === "import");
  const functions = fields.filter((field) => field[0] === "func").map(readFunction);
  const types = functions.map(({ type }) => type);
  return Uint8Array.of(
    ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
    ...section(1, vector(types)),
    ...(memory === undefined ? [] : section(2, vector([importMemory(memory)]))),
    ...section(3, vector(functions.map((_, index) => unsigned(index)))),
    ...section(7, vector(functions.map(({ name }, index) => [...text(name), 0x00, ...unsigned(index)]))),
    ...section(10, vector(functions.map(({ body }) => [...unsigned(body.length), ...body]))),
  );
}

function parse(source: string): Node[] {
  const tokens = source.replaceAll(/;;.*$/gm, "").match(/[()]|"[^"]*"|[^\s()]+/g) ?? [];
  const stack: Node[][] = [[]];
  for (const token of tokens) {
    if (token === "(") stack.push([]);
    else if (token === ")") {
      const done = stack.pop();
      if (done === undefined || stack.length === 0) throw new Error("a bracket too many");
      stack.at(-1)!.push(done);
    } else stack.at(-1)!.push(token);
  }
  if (stack.length !== 1) throw new Error("a bracket is not closed");
  return stack[0]!;
}

interface Func {
  readonly name: string;
  readonly type: readonly number[];
  readonly body: readonly number[];
}

function readFunction(field: readonly Node[]): Func {
  const parts = field.slice(1) as readonly (readonly Node[])[];
  const of = (kind: string): readonly (readonly Node[])[] => parts.filter((part) => part[0] === kind);
  const params = of("param");
  const locals = of("local");
  const results = of("result").map((part) => valueType(part[1]));
  const names = new Map([...params, ...locals].map((part, index) => [String(part[1]), index]));
  const kinds = new Set(["export", "param", "local", "result"]);
  const code = parts
    .filter((part) => !kinds.has(String(part[0])))
    .flatMap((part) => instruction(part, { names, labels: [] }));
  const declared = vector(locals.map((part) => [1, valueType(part[2])]));
  return {
    name: String(of("export")[0]?.[1]).replaceAll('"', ""),
    type: [
      0x60,
      ...vector(params.map((part) => [valueType(part[2])])),
      ...vector(results.map((type) => [type])),
    ],
    body: [...declared, ...code, 0x0b],
  };
}

interface Scope {
  readonly names: ReadonlyMap<string, number>;
  /** Innermost last. */
  readonly labels: readonly string[];
}

function instruction(node: Node, scope: Scope): number[] {
  if (typeof node === "string") throw new Error(`only folded instructions: ${node}`);
  const [head, ...rest] = node;
  const operation = String(head);
  if (operation === "block" || operation === "loop")
    return nested(operation === "block" ? 0x02 : 0x03, rest, scope);
  if (operation === "if") return condition(rest, scope);
  const operands = rest
    .filter((part) => typeof part !== "string")
    .flatMap((part) => instruction(part, scope));
  const immediates = rest.filter((part) => typeof part === "string");
  return [...operands, ...plain(operation, immediates, scope)];
}

function nested(opcode: number, rest: readonly Node[], { names, labels }: Scope): number[] {
  const [label, ...body] = rest;
  const inner = { names, labels: [...labels, String(label)] };
  return [opcode, 0x40, ...body.flatMap((part) => instruction(part, inner)), 0x0b];
}

/** (if condition (then …) (else …)) without a result. */
function condition(rest: readonly Node[], { names, labels }: Scope): number[] {
  const [test, ...branches] = rest as readonly (readonly Node[])[];
  const inner = { names, labels: [...labels, ""] };
  const branch = (kind: string): number[] =>
    (branches.find((part) => part[0] === kind)?.slice(1) ?? []).flatMap((part) => instruction(part, inner));
  const otherwise = branch("else");
  return [
    ...instruction(test!, { names, labels }),
    ...[0x04, 0x40, ...branch("then")],
    ...(otherwise.length === 0 ? [] : [0x05, ...otherwise]),
    0x0b,
  ];
}

function plain(operation: string, immediates: readonly string[], { names, labels }: Scope): number[] {
  const opcode = OPCODES[operation];
  if (opcode === undefined) throw new Error(`unknown instruction ${operation}`);
  const [first = ""] = immediates;
  if (operation.startsWith("local.")) return [opcode, ...unsigned(known(names.get(first), first))];
  if (operation.startsWith("br")) {
    const depth = labels.toReversed().indexOf(first);
    return [opcode, ...unsigned(known(depth < 0 ? undefined : depth, first))];
  }
  if (operation.endsWith(".const")) return [opcode, ...signed(BigInt(first))];
  if (/\.(?:load|store)/.test(operation)) {
    const offset = Number(/^offset=(\d+)$/.exec(first)?.[1] ?? 0);
    return [opcode, 0, ...unsigned(offset)]; // no alignment is promised: data lies where it lies
  }
  if (operation === "memory.fill") return [0xfc, 0x0b, 0x00];
  if (operation === "memory.copy") return [0xfc, 0x0a, 0x00, 0x00];
  return [opcode];
}

function known(value: number | undefined, name: string): number {
  if (value === undefined) throw new Error(`unknown name ${name}`);
  return value;
}

function importMemory(field: readonly Node[]): number[] {
  const [, module, name, description] = field;
  if (typeof description === "string" || description?.[0] !== "memory")
    throw new Error("only a memory can be imported");
  const bare = (value: Node | undefined): string => String(value).replaceAll('"', "");
  return [...text(bare(module)), ...text(bare(name)), 0x02, 0x00, ...unsigned(Number(description[1]))];
}

function valueType(name: Node | undefined): number {
  if (name === "i32") return 0x7f;
  if (name === "i64") return 0x7e;
  throw new Error(`unknown type ${String(name)}`);
}

const section = (id: number, content: readonly number[]): number[] => [
  id,
  ...unsigned(content.length),
  ...content,
];
const vector = (items: readonly (readonly number[])[]): number[] => [
  ...unsigned(items.length),
  ...items.flat(),
];
const text = (value: string): number[] => [
  ...unsigned(Buffer.byteLength(value)),
  ...Buffer.from(value, "utf8"),
];

function unsigned(value: number): number[] {
  const out: number[] = [];
  for (let rest = value; ;) {
    const byte = rest & 0x7f;
    rest >>>= 7;
    out.push(rest === 0 ? byte : byte | 0x80);
    if (rest === 0) return out;
  }
}

function signed(value: bigint): number[] {
  const out: number[] = [];
  for (let rest = value; ;) {
    const byte = Number(rest & 0x7fn);
    rest >>= 7n;
    const isLast = (rest === 0n && (byte & 0x40) === 0) || (rest === -1n && (byte & 0x40) !== 0);
    out.push(isLast ? byte : byte | 0x80);
    if (isLast) return out;
  }
}

const OPCODES: Readonly<Record<string, number>> = {
  br: 0x0c,
  br_if: 0x0d,
  return: 0x0f,
  "local.get": 0x20,
  "local.set": 0x21,
  "local.tee": 0x22,
  "i32.load": 0x28,
  "i64.load": 0x29,
  "i32.load8_u": 0x2d,
  "i32.load16_u": 0x2f,
  "i32.store": 0x36,
  "i64.store": 0x37,
  "i32.store8": 0x3a,
  "i32.store16": 0x3b,
  "i32.const": 0x41,
  "i64.const": 0x42,
  "i32.eqz": 0x45,
  "i32.eq": 0x46,
  "i32.ne": 0x47,
  "i32.lt_u": 0x49,
  "i32.gt_u": 0x4b,
  "i32.le_u": 0x4d,
  "i32.ge_u": 0x4f,
  "i64.eqz": 0x50,
  "i64.ne": 0x52,
  "i32.add": 0x6a,
  "i32.sub": 0x6b,
  "i32.mul": 0x6c,
  "i32.and": 0x71,
  "i32.shl": 0x74,
  "i32.shr_u": 0x76,
  "i32.rotl": 0x77,
  "i64.ctz": 0x7a,
  "i64.mul": 0x7e,
  "i64.xor": 0x85,
  "i64.shl": 0x86,
  "i64.shr_u": 0x88,
  "i32.wrap_i64": 0xa7,
  "memory.fill": 0xfc,
  "memory.copy": 0xfc,
};
