/**
 * Waking this browser for calls while no page of it is open (Push API, RFC 8030). The server sends "wake up" and nothing else; the browser's push
 * service learns that this browser was woken, and when.
 */
import { fromBase64url, toBase64url } from "./bytes.js";
import type { Core } from "./core.js";
import { KloudTalkError } from "./errors.js";
import type { PushStatus } from "./state.js";
import type * as wire from "./wire.js";

export class Pushes {
  readonly #core: Core;
  #registration: ServiceWorkerRegistration | null = null;

  constructor(core: Core) {
    this.#core = core;
  }

  /** The page has a service worker that handles `push`. */
  async use(registration: ServiceWorkerRegistration): Promise<void> {
    if (!("pushManager" in registration)) return;
    this.#registration = registration;
    await this.#look();
    await this.refresh();
  }

  /** Asks the browser, which asks the user, and tells the server. Must come from a click. */
  async enable(): Promise<void> {
    const manager = this.#manager();
    const { vapid_key: key } = await this.#state();
    if (key === undefined) throw new KloudTalkError("push_unavailable");
    try {
      await this.#tell(await subscribe(manager, key));
    } catch (error) {
      if (error instanceof KloudTalkError) throw error;
      throw new KloudTalkError(error instanceof DOMException && error.name === "NotAllowedError" ? "push_denied" : "push_unavailable");
    } finally {
      await this.#look();
    }
  }

  async disable(): Promise<void> {
    await this.#core.ask("DELETE", "/v1/push");
    await this.forget();
  }

  /** The device is signed out: the browser must not be woken for it any more. */
  async forget(): Promise<void> {
    await (await this.#registration?.pushManager.getSubscription())?.unsubscribe();
    await this.#look();
  }

  /** Connected: what the browser has and what the server knows are brought together. Either may have dropped it. */
  async refresh(): Promise<void> {
    if (this.#registration === null || this.#core.self === null || this.#core.socket?.online !== true) return;
    const manager = this.#registration.pushManager;
    const [state, own] = [await this.#state(), await manager.getSubscription()];
    if (own === null) {
      if (state.subscribed === "web") await this.#core.ask("DELETE", "/v1/push");
    } else if (state.vapid_key !== undefined && (state.subscribed !== "web" || key(own) !== state.vapid_key)) {
      await this.#tell(await subscribe(manager, state.vapid_key));
    }
    await this.#look();
  }

  async #look(): Promise<void> {
    const manager = this.#registration?.pushManager;
    let push: PushStatus = "unsupported";
    if (manager !== undefined) {
      const permission = await manager.permissionState({ userVisibleOnly: true });
      push = permission === "denied" ? "denied" : (await manager.getSubscription()) === null ? "off" : "on";
    }
    if (push !== this.#core.state.push) this.#core.set({ push });
  }

  #manager(): PushManager {
    if (this.#registration === null) throw new KloudTalkError("push_unavailable");
    return this.#registration.pushManager;
  }

  #state(): Promise<wire.PushState> {
    return this.#core.ask<wire.PushState>("GET", "/v1/push");
  }

  async #tell(subscription: PushSubscription): Promise<void> {
    const part = (name: PushEncryptionKeyName): string => toBase64url(new Uint8Array(subscription.getKey(name) ?? new ArrayBuffer(0)));
    const body: wire.SetPush = { kind: "web", endpoint: subscription.endpoint, p256dh: part("p256dh"), auth: part("auth") };
    try {
      await this.#core.ask("PUT", "/v1/push", body);
    } catch (error) {
      await subscription.unsubscribe(); // or the user would think that calls come
      throw error;
    }
  }
}

/** A subscription for the server's key, in the place of one for another key. */
async function subscribe(manager: PushManager, vapidKey: string): Promise<PushSubscription> {
  const before = await manager.getSubscription();
  if (before !== null && key(before) !== vapidKey) await before.unsubscribe();
  return manager.subscribe({ userVisibleOnly: true, applicationServerKey: fromBase64url(vapidKey) });
}

function key(subscription: PushSubscription): string | null {
  const { applicationServerKey } = subscription.options;
  return applicationServerKey === null ? null : toBase64url(new Uint8Array(applicationServerKey));
}
