/** The operators' API: requests, and live updates. */
import type { CallDetail, ErrorBody, ErrorCode, LiveCalls, Overview, SignedInOperator } from "./wire";

export class ApiError extends Error {
  constructor(readonly code: ErrorCode | "network", message: string, readonly retryAfter: number | null = null) {
    super(message);
  }
}

let csrf = "";

/** What every later request proves by: that this page asks, and not another one in this browser. */
export function remember(signedIn: SignedInOperator | null): void {
  csrf = signedIn?.csrf ?? "";
}

/** One request. Rejects with `ApiError`. */
export async function ask<T = void>(method: string, path: string, body?: unknown): Promise<T> {
  let response: Response;
  try {
    response = await fetch(`/v1/admin${path}`, {
      method,
      headers: { ...(csrf === "" ? {} : { "X-CSRF-Token": csrf }), ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      cache: "no-store",
    });
  } catch {
    throw new ApiError("network", "The server was not reached.");
  }
  if (response.ok) return (response.status === 204 ? undefined : response.headers.get("Content-Type")?.includes("json") ? await response.json() : await response.blob()) as T;
  const refused = await response.json().catch(() => null) as ErrorBody | null;
  throw new ApiError(refused?.code ?? "internal", refused?.message ?? "The server did not say why.", refused?.retry_after ?? null);
}

export interface Live {
  readonly overview: Overview | null;
  readonly calls: LiveCalls | null;
  /** The call that is looked at; `null` before it is there, "gone" when there is none. */
  readonly call: CallDetail | "gone" | null;
  readonly state: "connecting" | "live" | "interrupted";
}

export const NOTHING: Live = { overview: null, calls: null, call: null, state: "connecting" };

const AGAIN = 3_000;

/** Follows what goes on, and one call more closely. Answers what ends it; `ended` is called when the session is over. */
export function follow(call: string | null, changed: (update: Partial<Live>) => void, ended: () => void): () => void {
  let source: EventSource | null = null;
  let timer = 0;
  let over = false;
  function open() {
    source = new EventSource(`/v1/admin/stream${call === null ? "" : `?call=${call}`}`);
    source.onopen = () => changed({ state: "live" });
    for (const name of ["overview", "calls", "call"] as const) {
      source.addEventListener(name, (event) => {
        const data = JSON.parse((event as MessageEvent<string>).data) as { refused?: string };
        if (data.refused === undefined) changed({ [name]: data, state: "live" });
        else if (data.refused === "not_found") changed({ call: "gone" });
        else changed({ state: "interrupted" });
      });
    }
    source.onerror = () => {
      changed({ state: "interrupted" });
      if (source?.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      timer = window.setTimeout(() => {
        ask("GET", "/me").then(() => { if (!over) open(); }, (error: unknown) => {
          if (over) return;
          if (error instanceof ApiError && error.code === "unauthenticated") ended();
          else open();
        });
      }, AGAIN);
    };
  }
  open();
  return () => {
    over = true;
    clearTimeout(timer);
    source?.close();
  };
}
