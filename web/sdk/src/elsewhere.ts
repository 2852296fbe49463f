/** Connected calls of the account at its other devices, which this one may take over. Pure. */
import type { CallElsewhere, CallElsewhereOver } from "./wire.js";

export interface Elsewhere {
  readonly calls: ReadonlyMap<string, CallElsewhere>;
  /** Calls that are over: what was told of them before may come after. */
  readonly over: ReadonlySet<string>;
}

const REMEMBERED = 100;

export const NOWHERE: Elsewhere = { calls: new Map(), over: new Set() };

/** The truth of `sync`, or one call. What is older than what is known changes nothing. `self`: this device; its own calls are not elsewhere. */
export function told(before: Elsewhere, views: readonly CallElsewhere[], self: string, all: boolean): Elsewhere {
  const calls = new Map(all ? [] : before.calls);
  for (const view of views) {
    const known = before.calls.get(view.call);
    const newer = known !== undefined && known.seq > view.seq ? known : view;
    if (before.over.has(view.call) || newer.device === self) calls.delete(view.call);
    else calls.set(view.call, newer);
  }
  return { ...before, calls };
}

export function over(before: Elsewhere, { call }: Pick<CallElsewhereOver, "call">): Elsewhere {
  const calls = new Map(before.calls);
  calls.delete(call);
  return { calls, over: new Set([...before.over, call].slice(-REMEMBERED)) };
}

/** This device has the call, or knows better: nothing to take over until it is told anew. */
export function without(before: Elsewhere, call: string): Elsewhere {
  const calls = new Map(before.calls);
  calls.delete(call);
  return { ...before, calls };
}
