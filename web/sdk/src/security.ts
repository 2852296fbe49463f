/**
 * What a client believes (P10): identity keys are pinned at first sight, every certificate must lead to its pin, every payload must be signed
 * by the device that the call is with, and no payload counts twice. Whatever does not fit becomes a notice that the user sees.
 */
import { leaf, verifyCertificate } from "./certificates.js";
import { toBase64url, utf8 } from "./bytes.js";
import { open, seal, SealError, type Content } from "./sealing.js";
import type { DeviceKeys } from "./keys.js";
import type { NoticeKind, SecurityNotice } from "./state.js";
import type { Storage, StoredPin } from "./storage.js";
import type { DeviceCertificate } from "./wire.js";

/** What a person reads about a notice, in English. */
export const DETAILS: Readonly<Record<NoticeKind, string>> = {
  signature_invalid: "A message of the call was not signed by the device you are talking to. It was ignored.",
  cannot_open: "A message of the call could not be opened with this device's key. It was ignored.",
  replayed: "A message of the call was sent a second time by someone in between. It was ignored.",
  certificate_invalid: "The server showed a device whose certificate is not valid. It was not trusted.",
  identity_changed: "The keys of this person have changed since you last talked.",
  ghost_device: "The server showed a device that this person did not add. Nothing was sent to it.",
  wrong_sender: "A message of the call came from a device that is not in the call. It was ignored.",
  fingerprint_mismatch: "The connection is not with the device that signed for it. The call was stopped.",
};

export type Verdict = "trusted" | "changed" | "refused";

export class Security {
  readonly #storage: Storage;
  readonly #now: () => number;
  readonly #notify: (notice: SecurityNotice) => void;
  readonly #pins = new Map<string, StoredPin>();
  /** By call and sender: digest by number. */
  readonly #seen = new Map<string, Map<number, string>>();
  /** By call and receiver: the next number. */
  readonly #next = new Map<string, number>();
  /** By call: the first number, where it is not 0. */
  readonly #first = new Map<string, number>();

  constructor(storage: Storage, now: () => number, notify: (notice: SecurityNotice) => void) {
    this.#storage = storage;
    this.#now = now;
    this.#notify = notify;
  }

  async load(): Promise<void> {
    for (const pin of await this.#storage.pins()) this.#pins.set(pin.account, pin);
  }

  forget(): void {
    this.#pins.clear();
    this.#seen.clear();
    this.#next.clear();
    this.#first.clear();
  }

  pin(account: string): StoredPin | undefined {
    return this.#pins.get(account);
  }

  async markVerified(account: string, verified: boolean): Promise<void> {
    const pin = this.#pins.get(account);
    if (pin !== undefined) await this.#save({ ...pin, verified });
  }

  async acceptChange(account: string): Promise<void> {
    const pin = this.#pins.get(account);
    if (pin?.changedTo != null) await this.#save({ account, identityKey: pin.changedTo, verified: false, changedTo: null });
  }

  notice(kind: NoticeKind, about: { account?: string | null; device?: string | null; call?: string | null } = {}): void {
    this.#notify({ kind, at: this.#now(), account: about.account ?? null, device: about.device ?? null, call: about.call ?? null, detail: DETAILS[kind] });
  }

  /**
   * Looks at the certificates that the server shows for an account; all of them must lead to one identity key, the pinned one.
   * `changed`: they all lead to another one. `refused`: at least one cannot be trusted; nothing may be sealed for this set.
   */
  async judge(account: string, certificates: readonly DeviceCertificate[], about: { call?: string } = {}): Promise<Verdict> {
    const pin = this.#pins.get(account);
    let refused = false;
    const keys = new Set<string>();
    for (const certificate of certificates) {
      const device = certificate.chain.at(-1)?.device ?? null;
      const genuine = certificate.account === account && (await verifyCertificate(certificate));
      if (genuine) {
        keys.add(certificate.identity_key);
        continue;
      }
      refused = true;
      this.notice(pin !== undefined && certificate.identity_key === pin.identityKey ? "ghost_device" : "certificate_invalid", { account, device, ...about });
    }
    if (keys.size > 1) {
      // an account has one identity key: whoever shows two has made one of them up
      refused = true;
      for (const certificate of certificates) {
        if (certificate.identity_key !== pin?.identityKey) this.notice("ghost_device", { account, device: certificate.chain.at(-1)?.device ?? null, ...about });
      }
    }
    if (refused) return "refused";
    const [identityKey] = keys;
    if (identityKey === undefined) return "trusted";
    if (pin === undefined) {
      await this.#save({ account, identityKey, verified: false, changedTo: null });
      return "trusted";
    }
    if (pin.identityKey === identityKey) {
      if (pin.changedTo !== null) await this.#save({ ...pin, changedTo: null });
      return "trusted";
    }
    if (pin.changedTo !== identityKey) {
      await this.#save({ ...pin, changedTo: identityKey });
      this.notice("identity_changed", { account, ...about });
    }
    return "changed";
  }

  /** Seals for one device, with the next number for it in this call. */
  async seal(call: string, sender: string, keys: DeviceKeys, receiver: DeviceCertificate, kind: string, body: unknown): Promise<string> {
    const to = leaf(receiver);
    const key = `${call} ${to.device}`;
    const n = this.#next.get(key) ?? this.#first.get(call) ?? 0;
    this.#next.set(key, n + 1);
    return seal({ call, sender, receiver: to.device }, { kind, n, body }, keys.signing.privateKey, to.sealing_key);
  }

  /**
   * Opens what a trusted device sealed for this one. Null: not to be applied; the reason is a notice already. `again`: it came by `sync`, where
   * what was seen before is normal, if it is the very same.
   */
  async open(call: string, sender: DeviceCertificate, receiver: string, keys: DeviceKeys, sealed: string, again: boolean): Promise<Content | null> {
    const from = leaf(sender);
    const about = { account: sender.account, device: from.device, call };
    let content: Content;
    try {
      content = await open({ call, sender: from.device, receiver }, sealed, keys.sealing, from.signing_key);
    } catch (error) {
      if (!(error instanceof SealError)) throw error;
      this.notice(error.reason, about);
      return null;
    }
    const digest = toBase64url(new Uint8Array(await crypto.subtle.digest("SHA-256", utf8(sealed))));
    const key = `${call} ${from.device}`;
    const seen = this.#seen.get(key) ?? new Map<number, string>();
    this.#seen.set(key, seen);
    const before = seen.get(content.n);
    if (before !== undefined) {
      if (!again || before !== digest) this.notice("replayed", about);
      return null;
    }
    seen.set(content.n, digest);
    return content;
  }

  /** This device takes a call over that it may have been in before: numbers that it cannot have used then. */
  resume(call: string): void {
    this.#first.set(call, this.#now());
  }

  /** A call is over: its numbers are not needed, and its id is not used again. */
  endCall(call: string): void {
    this.#first.delete(call);
    for (const map of [this.#seen, this.#next]) for (const key of [...map.keys()]) if (key.startsWith(`${call} `)) map.delete(key);
  }

  async #save(pin: StoredPin): Promise<void> {
    this.#pins.set(pin.account, pin);
    await this.#storage.savePin(pin);
  }
}
