/** What the browser tells about the network and about the page being looked at again. Hints only: what they mean is found out by asking. */

export interface NetworkEvents {
  /** There is a network again, or another one: connections that were open before are most likely dead. */
  returned(): void;
  /** There is none, as far as the browser knows. */
  lost(): void;
  /** The page was out of sight or asleep, and is not any more. */
  shown(): void;
  /** The page is put to sleep: no code of it runs until `shown`, though the browser would keep its connections open. */
  asleep(): void;
}

export interface Network {
  /** False: the browser knows that it has no network. True says little. */
  readonly online: boolean;
  /** Tells what happens from now on; returns what ends that. */
  watch(events: NetworkEvents): () => void;
}

/** `navigator.connection.type` (W3C Network Information API), where there is one. Its `change` comes for mere changes of speed too. */
interface Connection extends EventTarget { readonly type?: string }

/** The network of this browser; outside of one it is always there and nothing happens to it. */
export function browserNetwork(scope: typeof globalThis = globalThis): Network {
  const { navigator, document } = scope as typeof globalThis & { navigator?: Navigator & { connection?: Connection }; document?: Document };
  return {
    get online() {
      return navigator?.onLine !== false;
    },
    watch(events) {
      const ended = new AbortController();
      const on = (target: EventTarget | undefined, name: string, act: () => void): void => { target?.addEventListener(name, act, { signal: ended.signal }); };
      const target = typeof scope.addEventListener === "function" ? (scope as unknown as EventTarget) : undefined;
      on(target, "online", () => { events.returned(); });
      on(target, "offline", () => { events.lost(); });
      on(target, "pageshow", () => { events.shown(); });
      on(document, "freeze", () => { events.asleep(); }); // Page Lifecycle (WICG)
      on(document, "resume", () => { events.shown(); });
      on(document, "visibilitychange", () => { if (document?.visibilityState === "visible") events.shown(); });
      const connection = navigator?.connection;
      let type = connection?.type;
      on(connection, "change", () => {
        const before = type;
        type = connection?.type;
        if (type !== before && type !== "none") events.returned();
      });
      return () => { ended.abort(); };
    },
  };
}
