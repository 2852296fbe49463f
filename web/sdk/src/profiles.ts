/** Profiles: the user's own (P03, P15), and those of contacts. */
import { toBase64url, type Bytes } from "./bytes.js";
import type { Core } from "./core.js";
import { KloudTalkError } from "./errors.js";
import type { AccountState } from "./state.js";
import type * as wire from "./wire.js";

const AT_ONCE = 500;
/** Pixels of a picture's longer side as it is sent; the server keeps 512. */
const SIDE = 1024;

export class Profiles {
  readonly #core: Core;
  readonly #known = new Map<string, wire.Profile>();
  readonly #pictures = new Map<string, { changedAt: number; url: Promise<string | null> }>();
  /** Called when contacts are to be drawn anew. */
  onChange: () => void = () => undefined;

  constructor(core: Core) {
    this.#core = core;
  }

  of(account: string): wire.Profile | undefined {
    return this.#known.get(account);
  }

  forget(): void {
    this.#known.clear();
    this.#pictures.clear();
  }

  /** Fetches the profiles of these accounts, and forgets all others. */
  async refresh(accounts: readonly string[]): Promise<void> {
    const fetched: wire.Profile[] = [];
    for (let at = 0; at < accounts.length; at += AT_ONCE) {
      const body: wire.AskProfiles = { accounts: accounts.slice(at, at + AT_ONCE) };
      fetched.push(...(await this.#core.ask<wire.Profiles>("POST", "/v1/profiles", body)).profiles);
    }
    this.#known.clear();
    for (const profile of fetched) this.#known.set(profile.account, profile);
    this.onChange();
  }

  async changed(account: string): Promise<void> {
    const { profiles } = await this.#core.ask<wire.Profiles>("POST", "/v1/profiles", { accounts: [account] });
    for (const profile of profiles) this.#known.set(profile.account, profile);
    this.onChange();
  }

  /** A `data:` URL of the picture that was set at `changedAt`, or null when there is none to see. Fetched once. */
  picture(account: string, changedAt: number): Promise<string | null> {
    const kept = this.#pictures.get(account);
    if (kept?.changedAt === changedAt) return kept.url;
    const url = this.#core.ask<wire.Picture>("GET", `/v1/accounts/${account}/picture`).then(
      ({ image, media_type }) => `data:${media_type};base64,${image.replace(/-/gu, "+").replace(/_/gu, "/")}`,
      (error: unknown) => {
        if (error instanceof KloudTalkError && error.code === "not_found") return null;
        this.#pictures.delete(account);
        throw error;
      },
    );
    this.#pictures.set(account, { changedAt, url });
    return url;
  }

  async change(profile: { name?: string; about?: string }): Promise<void> {
    this.#core.set({ account: accountState(await this.#core.ask<wire.Account>("PATCH", "/v1/profile", profile satisfies wire.ChangeProfile)) });
  }

  /** Makes the picture smaller here, which leaves the file's metadata behind, and sends it. */
  async setPicture(file: Blob): Promise<void> {
    const body: wire.SetPicture = { image: toBase64url(await smaller(file)) };
    this.#core.set({ account: accountState(await this.#core.ask<wire.Account>("PUT", "/v1/profile/picture", body)) });
  }

  async removePicture(): Promise<void> {
    await this.#core.ask("DELETE", "/v1/profile/picture");
    const { account } = this.#core.state;
    if (account !== null) this.#core.set({ account: { ...account, pictureChangedAt: null } });
  }

  startChange(channel: "phone" | "email", to: string): Promise<wire.ContactChange> {
    return this.#core.ask<wire.ContactChange>("POST", "/v1/account/changes", { channel, to } satisfies wire.StartChange);
  }

  async finishChange(channel: "phone" | "email", code: string, confirmation: string): Promise<void> {
    const body: wire.VerifyChange = { channel, code, confirmation };
    const answer = await this.#core.ask<wire.Account>("POST", "/v1/account/changes/verification", body);
    this.#core.set({ account: accountState(answer) });
    await this.#core.update({ phone: answer.phone });
  }
}

async function smaller(file: Blob): Promise<Bytes> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new KloudTalkError("picture_invalid");
  }
  const scale = Math.min(1, SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = new OffscreenCanvas(Math.max(1, Math.round(bitmap.width * scale)), Math.max(1, Math.round(bitmap.height * scale)));
  const context = canvas.getContext("2d");
  if (context === null) throw new KloudTalkError("picture_invalid");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
  return new Uint8Array(await blob.arrayBuffer());
}

export function accountState(answer: wire.Account): AccountState {
  return {
    account: answer.account, phone: answer.phone, email: answer.email, createdAt: answer.created_at, policyVersion: answer.policy_version,
    whoCanCall: answer.who_can_call, alwaysRelay: answer.always_relay, country: answer.country === "" ? null : answer.country,
    restrictedAt: answer.restricted_at ?? null, blockedAt: answer.blocked_at ?? null, blockedFor: answer.blocked_for ?? null, business: answer.business ?? false,
    lastSeen: { to: answer.last_seen.to, excepted: answer.last_seen.excepted ?? [] }, online: { to: answer.online.to, excepted: answer.online.excepted ?? [] },
    name: answer.name ?? null, about: answer.about ?? null, aboutChangedAt: answer.about_changed_at ?? null, pictureChangedAt: answer.picture_changed_at ?? null,
  };
}
