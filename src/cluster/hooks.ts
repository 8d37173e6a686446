// repmgr's hooks and events as values: `holdfast-hook hook VERB …`. They are asked of the same gate as everybody, and decide nothing.

import { unreachable } from "../base/errors.ts";

/** What a hook says; unknown ones are null. */
export type Hook =
  /** failover_validation_command `%n %a %v %u %t`. */
  | { readonly kind: "validate"; readonly nodeId: number; readonly name: string }
  | { readonly kind: "promote" }
  /** follow_command `%n`: Postgres follows by itself. */
  | { readonly kind: "follow"; readonly primaryId: number }
  /** event_notification_command `%n %e %s`. */
  | { readonly kind: "event"; readonly nodeId: number; readonly event: string; readonly success: boolean }
  /** service_start_command and its like: the server is the supervisor's child. */
  | { readonly kind: "start" | "stop" | "restart" };

/** Reads the words behind `hook`. */
export function parseHook(args: readonly string[]): Hook | null {
  const [verb = "", first = "", second = "", third = ""] = args;
  switch (verb) {
    case "validate":
      return isId(first) ? { kind: "validate", nodeId: Number(first), name: second } : null;
    case "follow":
      return isId(first) ? { kind: "follow", primaryId: Number(first) } : null;
    case "event":
      return isId(first)
        ? { kind: "event", nodeId: Number(first), event: second, success: third === "1" }
        : null;
    case "promote":
    case "start":
    case "stop":
    case "restart":
      return { kind: verb };
    default:
      return null;
  }
}

/** What the node is doing, as far as an answer to a hook needs it. */
export interface HookFacts {
  readonly standing: string;
  readonly isServerUp: boolean;
}

/**
 * repmgrd promotes when a hook exits with 0, and takes a killed shell for that, so no hook here ever allows anything by itself: this
 * node promotes only behind a fence it holds, and by then it is a primary already. One line at most.
 */
export function answerHook(hook: Hook, { standing, isServerUp }: HookFacts): { exit: number; line: string } {
  switch (hook.kind) {
    case "validate":
    case "promote":
      return standing === "primary"
        ? { exit: 0, line: "this node leads already" }
        : { exit: 1, line: `this node is ${standing}; the supervisor promotes, not repmgrd` };
    case "follow":
      return { exit: 0, line: "Postgres follows by its connection string" };
    case "event":
      return { exit: 0, line: "" };
    case "start":
    case "stop":
    case "restart":
      return isServerUp
        ? { exit: hook.kind === "start" ? 0 : 1, line: "the supervisor owns the server" }
        : { exit: 1, line: "the supervisor starts the server when it is time" };
    default:
      return unreachable(hook);
  }
}

const isId = (word: string): boolean => /^-?\d{1,10}$/.test(word);
