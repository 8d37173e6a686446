// Bounded parallel work in order.

import { Change } from "./change.ts";

/** What the items under way may weigh together; one alone may weigh more. */
export interface Budget<T> {
  readonly most: number;
  readonly of: (item: T) => number;
}

/**
 * `work` over all items, at most `limit` at once and within `budget`; results in the order of the items. The first error stops new work and
 * is thrown.
 */
export async function mapPool<T, R>(
  items: readonly T[],
  limit: number,
  work: (item: T) => Promise<R>,
  budget: Budget<T> = UNLIMITED,
): Promise<R[]> {
  const results: R[] = Array.from({ length: items.length });
  const change = new Change();
  let next = 0;
  let weightUnderWay = 0;
  let isFailed = false;
  const lane = async (): Promise<void> => {
    while (next < items.length && !isFailed) {
      const at = next;
      next += 1;
      const weight = Math.min(budget.of(items[at]!), budget.most);
      await change.until(() => isFailed || weightUnderWay + weight <= budget.most);
      if (isFailed) return;
      weightUnderWay += weight;
      try {
        results[at] = await work(items[at]!);
      } catch (error) {
        isFailed = true;
        throw error;
      } finally {
        weightUnderWay -= weight;
        change.bump();
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, lane));
  return results;
}

const UNLIMITED: Budget<unknown> = { most: Infinity, of: () => 0 };
