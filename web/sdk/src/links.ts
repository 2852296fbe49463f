/** Adding a further device to an account: both ends. */
import { fromBase64url, randomId, toBase64url } from "./bytes.js";
import { importBookKey } from "./address-book.js";
import { leaf, verifyCertificate } from "./certificates.js";
import type { Core } from "./core.js";
import { KloudTalkError } from "./errors.js";
import { certifyFurtherDevice, makeDeviceKeys, publicKey, type DeviceKeys } from "./keys.js";
import { approvalMac, claimMac, makeSecret, parseCode, sameMac, showCode } from "./linking.js";
import { open, seal, SealError } from "./sealing.js";
import type * as wire from "./wire.js";

const POLL = 5_000;

export class Links {
  readonly #core: Core;
  #claiming = 0;
  #secret: string | null = null;
  #claim: wire.ClaimLink | null = null;
  #timer: number | null = null;

  constructor(core: Core) {
    this.#core = core;
  }

  // --- the new device ---------------------------------------------------------------------------------------------------

  async claim(typed: string, deviceName: string): Promise<void> {
    const { core } = { core: this.#core };
    if (core.state.phase !== "signed_out" && core.state.phase !== "linking") throw new KloudTalkError("wrong_phase");
    const code = parseCode(typed);
    if (code === null) throw new KloudTalkError("link_code_invalid");
    const keys = await makeDeviceKeys();
    const claimed = {
      device: randomId(), device_name: deviceName.trim().slice(0, 64) || "Device", signing_key: await publicKey(keys.signing), sealing_key: await publicKey(keys.sealing),
    };
    const body: wire.ClaimLink = { lookup: code.lookup, ...claimed, mac: await claimMac(code.secret, claimed) };
    const answer = await core.rest.ask<wire.ClaimedLink>("POST", "/v1/links/claim", { body });
    const expiresAt = core.platform.now() + answer.expires_in * 1000;
    const turn = ++this.#claiming;
    core.set({ phase: "linking", linking: { state: "claimed", expiresAt, deviceName: claimed.device_name }, signedOutReason: null });
    void this.#outcome(turn, answer.token, code.secret, code.lookup, keys, claimed);
  }

  cancelClaim(): void {
    this.#claiming++;
    if (this.#core.state.phase === "linking") this.#core.set({ phase: "signed_out", linking: null });
  }

  async #outcome(turn: number, token: string, secret: string, lookup: string, keys: DeviceKeys, claimed: { device: string; signing_key: string; sealing_key: string }): Promise<void> {
    const core = this.#core;
    const end = (state: "refused" | "expired" | "failed"): void => {
      if (turn === this.#claiming && core.state.linking !== null) core.set({ linking: { ...core.state.linking, state } });
    };
    while (turn === this.#claiming) {
      let outcome: wire.LinkOutcome;
      try {
        outcome = await core.rest.ask<wire.LinkOutcome>("GET", "/v1/links/outcome", { token });
      } catch (error) {
        const code = error instanceof KloudTalkError ? error.code : "internal";
        if (code === "unauthenticated" || core.platform.now() > (core.state.linking?.expiresAt ?? 0)) {
          end("expired");
          return;
        }
        await new Promise<void>((resolve) => { core.platform.setTimeout(resolve, 1000); });
        continue;
      }
      if (turn !== this.#claiming) return;
      if (outcome.state === "refused") {
        end("refused");
        return;
      }
      if (outcome.state !== "approved" || outcome.approval === undefined || outcome.session === undefined) continue;
      const bookKey = await this.#checkApproval(outcome.approval, secret, lookup, keys, claimed);
      if (bookKey === null) {
        end("failed");
        return;
      }
      const { certificate } = outcome.approval;
      await core.signedIn({ ...keys, account: certificate.account, device: claimed.device, token: outcome.session.token, phone: null, certificate, bookKey });
      return;
    }
  }

  /** Null unless the old device, and nobody in between, made the approval. */
  async #checkApproval(approval: wire.ApproveLink, secret: string, lookup: string, keys: DeviceKeys, claimed: { device: string; signing_key: string; sealing_key: string }): Promise<CryptoKey | null> {
    const { certificate, sealed } = approval;
    if (!sameMac(approval.mac, await approvalMac(secret, certificate, sealed)) || !(await verifyCertificate(certificate))) return null;
    const [own, voucher] = [leaf(certificate), certificate.chain.at(-2)];
    if (voucher === undefined || own.device !== claimed.device || own.signing_key !== claimed.signing_key || own.sealing_key !== claimed.sealing_key) return null;
    try {
      const content = await open({ call: lookup, sender: voucher.device, receiver: own.device }, sealed, keys.sealing, voucher.signing_key);
      const key = (content.body as { book_key?: unknown }).book_key;
      if (content.kind !== "secrets" || typeof key !== "string") return null;
      return await importBookKey(fromBase64url(key));
    } catch (error) {
      if (error instanceof SealError || error instanceof RangeError || error instanceof DOMException) return null;
      throw error;
    }
  }

  // --- the old device -----------------------------------------------------------------------------------------------------

  async openLink(): Promise<void> {
    const core = this.#core;
    const answer = await core.ask<wire.DeviceLink>("POST", "/v1/links");
    this.#secret = makeSecret();
    this.#claim = null;
    const expiresAt = core.platform.now() + answer.expires_in * 1000;
    core.set({ openLink: { link: answer.link, code: showCode(answer.lookup, this.#secret), state: "waiting", expiresAt, deviceName: null, genuine: null } });
    this.#watch();
  }

  /** The socket said that the link was claimed, or it is time to look. */
  async look(link: string): Promise<void> {
    const core = this.#core;
    const shown = core.state.openLink;
    if (shown?.link !== link || shown.state !== "waiting" || this.#secret === null) return;
    const status = await core.ask<wire.LinkStatus>("GET", `/v1/links/${link}`);
    if (status.state !== "claimed" || status.claim === undefined || core.state.openLink?.link !== link) return;
    this.#claim = status.claim;
    const genuine = sameMac(status.claim.mac, await claimMac(this.#secret, status.claim));
    core.set({ openLink: { ...shown, state: "claimed", deviceName: status.claim.device_name, genuine } });
  }

  async approve(): Promise<void> {
    const core = this.#core;
    const [shown, claim, secret, self] = [core.state.openLink, this.#claim, this.#secret, core.device()];
    if (shown?.state !== "claimed" || claim === null || secret === null) throw new KloudTalkError("link_state");
    if (shown.genuine !== true) throw new KloudTalkError("link_not_genuine");
    if (self.bookKey === null) throw new KloudTalkError("missing_book_key");
    const certificate = await certifyFurtherDevice(self.certificate, self, claim, core.platform.now());
    const bookKey = toBase64url(new Uint8Array(await crypto.subtle.exportKey("raw", self.bookKey)));
    const lookup = shown.code.slice(0, 4);
    const route = { call: lookup, sender: self.device, receiver: claim.device };
    const sealed = await seal(route, { kind: "secrets", n: 0, body: { book_key: bookKey } }, self.signing.privateKey, claim.sealing_key);
    const body: wire.ApproveLink = { certificate, mac: await approvalMac(secret, certificate, sealed), sealed };
    await core.ask("POST", `/v1/links/${shown.link}/approval`, body);
    this.#unwatch();
    core.set({ openLink: { ...shown, state: "approved" } });
  }

  async refuse(): Promise<void> {
    const shown = this.#core.state.openLink;
    this.#unwatch();
    this.#core.set({ openLink: null });
    if (shown !== null && (shown.state === "waiting" || shown.state === "claimed")) {
      await this.#core.ask("DELETE", `/v1/links/${shown.link}`).catch((error: unknown) => {
        if (!(error instanceof KloudTalkError && error.code === "not_found")) throw error;
      });
    }
  }

  stop(): void {
    this.#unwatch();
    this.#claiming++;
  }

  #unwatch(): void {
    if (this.#timer !== null) this.#core.platform.clearTimeout(this.#timer);
    this.#timer = null;
    this.#secret = null;
    this.#claim = null;
  }

  /** Looks from time to time too: the socket may miss the moment. */
  #watch(): void {
    if (this.#timer !== null) this.#core.platform.clearTimeout(this.#timer);
    this.#timer = this.#core.platform.setTimeout(() => {
      const shown = this.#core.state.openLink;
      if (shown === null || (shown.state !== "waiting" && shown.state !== "claimed")) return;
      if (this.#core.platform.now() >= shown.expiresAt) {
        this.#core.set({ openLink: { ...shown, state: "expired" } });
        return;
      }
      void this.look(shown.link).catch(() => undefined).then(() => { if (this.#secret !== null) this.#watch(); });
    }, POLL);
  }
}
