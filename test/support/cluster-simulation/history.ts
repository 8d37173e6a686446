// WAL as the simulation knows it: a tree of branches, one per promotion, each written by one node; a position is a count of commits.

export interface Branch {
  readonly id: number;
  readonly parent: Branch | null;
  /** The position where it leaves its parent. */
  readonly fork: number;
}

export interface Position {
  readonly branch: Branch;
  readonly lsn: number;
}

/** Is everything up to `inner` part of the history that ends at `outer`? */
export function contains(outer: Position, inner: Position): boolean {
  let branch: Branch | null = outer.branch;
  let end = outer.lsn;
  while (branch !== null) {
    if (branch.id === inner.branch.id) return inner.lsn <= end;
    end = Math.min(end, branch.fork);
    branch = branch.parent;
  }
  // A position on a branch below its own fork belongs to the parent.
  if (inner.lsn <= inner.branch.fork && inner.branch.parent !== null)
    return contains(outer, { branch: inner.branch.parent, lsn: inner.lsn });
  return false;
}

/** The end of what two histories share. */
export function shared(a: Position, b: Position): Position {
  const ends = new Map<number, number>();
  for (let branch: Branch | null = a.branch, end = a.lsn; branch !== null; branch = branch.parent) {
    ends.set(branch.id, end);
    end = Math.min(end, branch.fork);
  }
  for (let branch: Branch | null = b.branch, end = b.lsn; branch !== null; branch = branch.parent) {
    const other = ends.get(branch.id);
    if (other !== undefined) return { branch, lsn: Math.min(end, other) };
    end = Math.min(end, branch.fork);
  }
  throw new Error("no common root");
}

/** How many forks lie below. */
export const timelineOf = (branch: Branch): number =>
  branch.parent === null ? 1 : 1 + timelineOf(branch.parent);
