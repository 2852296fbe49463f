/** Registering: a number and an address, each proven by a code; then this device becomes the account's first (P01). */
import { randomBytes, randomId } from "./bytes.js";
import { importBookKey } from "./address-book.js";
import type { Core } from "./core.js";
import { KloudTalkError } from "./errors.js";
import { certifyFirstDevice, makeDeviceKeys } from "./keys.js";
import type { RegistrationState } from "./state.js";
import type * as wire from "./wire.js";

export class Registering {
  readonly #core: Core;
  #token: string | null = null;
  #account: string | null = null;

  constructor(core: Core) {
    this.#core = core;
  }

  /** Takes up a registration that was begun before the page was loaded, unless it is over. */
  async restore(): Promise<void> {
    const stored = await this.#core.storage.registration();
    const state = stored?.state as RegistrationState | undefined;
    if (stored === undefined || state === undefined || state.expiresAt < this.#core.platform.now()) return;
    [this.#token, this.#account] = [stored.token, stored.account];
    this.#core.set({ phase: "registering", registration: state });
  }

  async start(input: { phone: string; email: string; policyVersion: string }): Promise<void> {
    if (this.#core.state.phase !== "signed_out" && this.#core.state.phase !== "registering") throw new KloudTalkError("wrong_phase");
    const body: wire.StartRegistration = { phone: input.phone, email: input.email, policy_version: input.policyVersion };
    await this.#show(await this.#core.rest.ask<wire.Registration>("POST", "/v1/registration", { body }));
  }

  async sendCode(channel: wire.Channel): Promise<void> {
    await this.#show(await this.#core.rest.ask<wire.Registration>("POST", "/v1/registration/codes", { token: this.#must(), body: { channel } }));
  }

  async verify(channel: wire.Channel, code: string): Promise<void> {
    const typed = code.replace(/\D/gu, "");
    if (typed.length !== 6) throw new KloudTalkError("code_wrong");
    await this.#show(await this.#core.rest.ask<wire.Registration>("POST", "/v1/registration/verifications", { token: this.#must(), body: { channel, code: typed } }));
  }

  async finish(deviceName: string): Promise<void> {
    const token = this.#must();
    if (this.#account === null) throw new KloudTalkError("not_verified");
    const keys = await makeDeviceKeys();
    const device = randomId();
    const certificate = await certifyFirstDevice(this.#account, device, keys, this.#core.platform.now());
    const body: wire.CreateAccount = { certificate, device_name: deviceName.trim().slice(0, 64) || "Device" };
    const session = await this.#core.rest.ask<wire.SignedIn>("POST", "/v1/registration/account", { token, body });
    const phone = this.#core.state.registration?.phone ?? null;
    const bookKey = await importBookKey(randomBytes(32));
    [this.#token, this.#account] = [null, null];
    await this.#core.signedIn({ ...keys, account: session.account, device, token: session.token, phone, certificate, bookKey });
  }

  async cancel(): Promise<void> {
    [this.#token, this.#account] = [null, null];
    await this.#core.storage.saveRegistration(null);
    if (this.#core.state.phase === "registering") this.#core.set({ phase: "signed_out", registration: null });
  }

  #must(): string {
    if (this.#token === null) throw new KloudTalkError("wrong_phase");
    return this.#token;
  }

  async #show(answer: wire.Registration): Promise<void> {
    const now = this.#core.platform.now();
    const at = (channel: wire.Channel): number | null => {
      const wait = answer.resend_in[channel];
      return wait === undefined ? null : now + wait * 1000;
    };
    [this.#token, this.#account] = [answer.token, answer.account ?? null];
    const registration: RegistrationState = {
      phone: answer.phone, email: answer.email, phoneVerified: answer.phone_verified, emailVerified: answer.email_verified,
      expiresAt: now + answer.expires_in * 1000, resendAt: { phone: at("phone"), email: at("email") },
    };
    await this.#core.storage.saveRegistration({ token: answer.token, account: this.#account, state: registration });
    this.#core.set({ phase: "registering", registration, signedOutReason: null });
  }
}
