/** The client: everything that a page needs, behind one object. `API.md` describes it. */
import { Calls } from "./calls.js";
import { verifyCertificate } from "./certificates.js";
import { Contacts } from "./contacts.js";
import { Core } from "./core.js";
import { KloudTalkError } from "./errors.js";
import { Links } from "./links.js";
import { parsePhonebook, type CountryCode } from "./phonebook.js";
import { browserPlatform, type Platform } from "./platform.js";
import { prove, type Act } from "./proof.js";
import { accountState, Profiles } from "./profiles.js";
import { Pushes } from "./push.js";
import { recorded } from "./quality.js";
import { Registering } from "./registration.js";
import { RestClient } from "./rest.js";
import { Security } from "./security.js";
import { Services } from "./services.js";
import { Socket } from "./socket.js";
import { INITIAL, type ClientState, type Consent, type DeviceInfo, type HistoryPage, type Objection, type ParsedPhonebook, type PhonebookEntry, type Purpose, type SettingsChange, type UploadResult, type AccountState } from "./state.js";
import { Storage, type StoredDevice } from "./storage.js";
import type * as wire from "./wire.js";

export interface OpenOptions {
  /** Where the server is, as `https://talk.example.org`; empty: the page's own origin. */
  readonly baseUrl: string;
  /** Name of the IndexedDB database, one per profile; default `kloudtalk`. */
  readonly database?: string;
  /** ISO 3166-1 alpha-2, for numbers typed without a country code; default: the browser's language's region. */
  readonly defaultCountry?: CountryCode;
  /** What else this device tells about itself when the user allows it, such as the app's version. */
  readonly deviceInfo?: DeviceInfo;
  readonly platform?: Partial<Platform>;
}

export class KloudTalkClient extends EventTarget {
  readonly #core: Core;
  readonly #base: string;
  readonly #country: CountryCode | undefined;
  readonly #registering: Registering;
  readonly #links: Links;
  readonly #contacts: Contacts;
  /** Support, announcements, plans. */
  readonly services: Services;
  readonly #profiles: Profiles;
  readonly #deviceInfo: DeviceInfo;
  readonly #calls: Calls;
  readonly #pushes: Pushes;
  #info: wire.ServerInfo | null = null;
  /** The network changed, and the call's media were not told yet: that takes a connection. */
  #moved = false;
  #unwatch: () => void = () => undefined;

  private constructor(options: OpenOptions, platform: Platform, storage: Storage) {
    super();
    this.#base = options.baseUrl.replace(/\/+$/u, "") || globalThis.location?.origin || "";
    this.#deviceInfo = options.deviceInfo ?? {};
    this.#country = options.defaultCountry ?? region();
    const rest = new RestClient(this.#base, platform);
    const emit = (name: string, detail: unknown): void => { this.dispatchEvent(new CustomEvent(name, { detail })); };
    this.#core = new Core(platform, rest, storage, emit, (device) => this.#signedIn(device));
    this.#core.security = new Security(storage, platform.now, (notice) => { this.#core.notify(notice); });
    this.#registering = new Registering(this.#core);
    this.#links = new Links(this.#core);
    this.services = new Services(this.#core);
    this.#profiles = new Profiles(this.#core);
    this.#contacts = new Contacts(this.#core, this.#profiles);
    this.#calls = new Calls(this.#core, this.#contacts, deviceInfo().browser ?? null, () => { this.history().catch(() => undefined); });
    this.#pushes = new Pushes(this.#core);
    rest.onUnauthenticated = (token) => { if (this.#core.self?.token === token) void this.#signedOut("revoked"); };
  }

  /** Opens the device's storage, restores who is signed in, and connects. Rejects with `unsupported` where the browser lacks what is needed. */
  static async open(options: OpenOptions): Promise<KloudTalkClient> {
    const platform = { ...browserPlatform(), ...options.platform };
    let storage: Storage;
    try {
      await crypto.subtle.generateKey({ name: "X25519" }, false, ["deriveBits"]);
      await crypto.subtle.generateKey({ name: "Ed25519" }, false, ["sign", "verify"]);
      storage = await Storage.open(platform.indexedDB, options.database ?? "kloudtalk");
    } catch {
      throw new KloudTalkError("unsupported");
    }
    const client = new KloudTalkClient(options, platform, storage);
    await client.#core.security.load();
    const self = await storage.device();
    if (self === undefined) await client.#registering.restore();
    else await client.#run(self);
    client.#watchNetwork();
    return client;
  }

  get state(): ClientState {
    return this.#core.state;
  }

  /** Calls `listener` after every change; returns what ends that. */
  subscribe(listener: (state: ClientState) => void): () => void {
    const heard = (): void => { listener(this.state); };
    this.addEventListener("change", heard);
    return () => { this.removeEventListener("change", heard); };
  }

  /** Hangs up, closes the connection and the storage. Keys stay. */
  async close(): Promise<void> {
    this.#unwatch();
    this.#calls.stop();
    this.#links.stop();
    this.#core.socket?.close();
    this.#core.storage.close();
  }

  get localStream(): MediaStream | null {
    return this.#calls.localStream;
  }

  get remoteStream(): MediaStream | null {
    return this.#calls.remoteStream;
  }

  // --- the server ---------------------------------------------------------------------------------------------------------

  async serverInfo(): Promise<wire.ServerInfo> {
    return (this.#info ??= await this.#core.rest.ask<wire.ServerInfo>("GET", "/v1/server"));
  }

  /** The policy in force: in the language (BCP 47, such as `de`) when the server has it. */
  policy(language?: string): Promise<wire.Policy> {
    return this.#core.rest.ask<wire.Policy>("GET", `/v1/policy${language === undefined ? "" : `?language=${language}`}`);
  }

  /** The user has read this version of the policy. The server closes the connection, which comes back by itself and fetches everything. */
  async acknowledgePolicy(version: string): Promise<void> {
    const answer = await this.#core.ask<wire.Account>("PUT", "/v1/policy/acknowledgement", { version } satisfies wire.AcknowledgePolicy);
    this.#info = null;
    this.#core.set({ account: accountState(answer), policyWanted: false });
  }

  // --- registration and linking ---------------------------------------------------------------------------------------------

  startRegistration(input: { phone: string; email: string; policyVersion: string }): Promise<void> {
    return this.#registering.start(input);
  }
  sendCode(channel: "phone" | "email"): Promise<void> {
    return this.#registering.sendCode(channel);
  }
  verifyCode(channel: "phone" | "email", code: string): Promise<void> {
    return this.#registering.verify(channel, code);
  }
  finishRegistration(deviceName: string): Promise<void> {
    return this.#registering.finish(deviceName);
  }
  cancelRegistration(): Promise<void> {
    return this.#registering.cancel();
  }
  claimLink(code: string, deviceName: string): Promise<void> {
    return this.#links.claim(code, deviceName);
  }
  async cancelClaim(): Promise<void> {
    this.#links.cancelClaim();
  }
  openLink(): Promise<void> {
    return this.#links.openLink();
  }
  async approveLink(): Promise<void> {
    await this.#links.approve();
    await this.refreshDevices();
  }
  refuseLink(): Promise<void> {
    return this.#links.refuse();
  }

  // --- consents ---------------------------------------------------------------------------------------------------------------

  async consents(): Promise<readonly Consent[]> {
    const { consents } = await this.#core.ask<wire.Consents>("GET", "/v1/consents");
    const shown = consents.map((c): Consent => ({ purpose: c.purpose, granted: c.granted, at: c.at ?? null, policyVersion: c.policy_version ?? null, changed: c.changed ?? false }));
    this.#core.set({ consents: shown });
    return shown;
  }

  /** What the user is asked for a purpose, word for word: in the language (BCP 47, such as `de`) when the server has it, else in English. */
  async question(purpose: Purpose, language = "en"): Promise<wire.PurposeText> {
    this.#info = null; // the text of now, not of when the page was opened
    const texts = (await this.serverInfo()).purposes.filter((one) => one.purpose === purpose);
    const text = texts.find((one) => one.language === language) ?? texts[0];
    if (text === undefined) throw new KloudTalkError("invalid");
    return text;
  }

  /** An explicit yes or no to the question that was shown (default: the English one of now). No deletes what was collected (P05). */
  async setConsent(purpose: Purpose, granted: boolean, shown?: wire.PurposeText): Promise<void> {
    const text = shown ?? (await this.question(purpose));
    const body: wire.ChangeConsent = { granted, sha256: text.sha256 };
    await this.#core.ask("PUT", `/v1/consents/${purpose}`, body);
    if (purpose === "phonebook" && !granted) await this.#contacts.clear();
    if (purpose === "device_details") {
      if (granted) await this.#describe();
      await this.refreshDevices();
    }
    await this.consents();
  }

  // --- contacts ---------------------------------------------------------------------------------------------------------------

  parsePhonebook(text: string): ParsedPhonebook {
    return parsePhonebook(text, this.#country);
  }
  uploadContacts(entries: readonly PhonebookEntry[], onProgress: (done: number, total: number) => void = () => undefined): Promise<UploadResult> {
    return this.#contacts.upload(entries, onProgress);
  }
  refreshContacts(): Promise<void> {
    return this.#contacts.refresh();
  }
  removeContacts(phones: readonly string[]): Promise<void> {
    return this.#contacts.remove(phones);
  }
  deleteAddressBook(): Promise<void> {
    return this.#contacts.deleteAll();
  }
  block(account: string): Promise<void> {
    return this.#contacts.block(account, true);
  }
  unblock(account: string): Promise<void> {
    return this.#contacts.block(account, false);
  }
  safetyNumber(account: string): Promise<string> {
    return this.#contacts.safetyNumber(account);
  }
  async markVerified(account: string, verified = true): Promise<void> {
    await this.#core.security.markVerified(account, verified);
    this.#contacts.show();
    this.#calls.refreshPeer();
  }
  async acceptIdentityChange(account: string): Promise<void> {
    await this.#core.security.acceptChange(account);
    this.#contacts.show();
    this.#calls.accepted(account);
    this.#calls.refreshPeer();
  }

  // --- profile (P03, P15) -------------------------------------------------------------------------------------------------------

  changeProfile(profile: { name?: string; about?: string }): Promise<void> {
    return this.#profiles.change(profile);
  }
  setPicture(file: Blob): Promise<void> {
    return this.#profiles.setPicture(file);
  }
  removePicture(): Promise<void> {
    return this.#profiles.removePicture();
  }
  picture(account: string, changedAt: number): Promise<string | null> {
    return this.#profiles.picture(account, changedAt);
  }
  async startContactChange(channel: "phone" | "email", to: string): Promise<{ to: string; expiresAt: number }> {
    const change = await this.#profiles.startChange(channel, to);
    return { to: change.to, expiresAt: this.#core.platform.now() + change.expires_in * 1000 };
  }
  finishContactChange(channel: "phone" | "email", code: string, confirmation: string): Promise<void> {
    return this.#profiles.finishChange(channel, code, confirmation);
  }

  // --- calls --------------------------------------------------------------------------------------------------------------------

  call(account: string): Promise<void> {
    return this.#calls.call(account);
  }
  /** A test call; watch `state.call` with `finding`, and `hangup` when enough was seen. */
  soundCheck(): Promise<void> {
    return this.#calls.soundCheck();
  }
  accept(): Promise<void> {
    return this.#calls.accept();
  }
  /** Continues a call of `state.elsewhere` on this device. The other one is told, and its media end. */
  takeOver(call: string): Promise<void> {
    return this.#calls.takeOver(call);
  }
  async decline(): Promise<void> {
    this.#calls.decline();
  }
  async hangup(): Promise<void> {
    this.#calls.hangup();
  }
  async setMuted(muted: boolean): Promise<void> {
    this.#calls.setMuted(muted);
  }
  async setHeld(held: boolean): Promise<void> {
    this.#calls.setHeld(held);
  }
  dismissCall(): void {
    this.#calls.dismiss();
  }

  // --- history ------------------------------------------------------------------------------------------------------------------

  async history(options: { before?: string; limit?: number } = {}): Promise<HistoryPage> {
    const query = new URLSearchParams({ limit: String(options.limit ?? 30) });
    if (options.before !== undefined) query.set("before", options.before);
    const answer = await this.#core.ask<wire.CallHistory>("GET", `/v1/calls?${query.toString()}`);
    if (this.state.echo === null && answer.calls.some((record) => this.#contacts.byAccount(record.peer) === undefined)) await this.#calls.findEcho().catch(() => undefined);
    const calls = answer.calls.map((record) => {
      const contact = this.#contacts.byAccount(record.peer);
      return {
        call: record.call, peer: record.peer, name: contact?.name ?? null, phone: contact?.phone ?? null, outgoing: record.outgoing, reason: record.reason,
        startedAt: record.started_at, endedAt: record.ended_at, connectedAt: record.connected_at ?? null, business: record.business ?? false,
        quality: recorded(record.quality),
      };
    });
    const page = { calls, next: answer.next ?? null };
    if (options.before === undefined) this.#core.set({ history: page.calls, historyNext: page.next });
    return page;
  }
  async moreHistory(): Promise<void> {
    const before = this.state.historyNext;
    if (before === null) return;
    const page = await this.history({ before });
    this.#core.set({ history: [...this.state.history, ...page.calls], historyNext: page.next });
  }
  async forgetCall(call: string): Promise<void> {
    await this.#core.ask("DELETE", `/v1/calls/${call}`);
    this.#core.set({ history: this.state.history.filter((record) => record.call !== call) });
  }
  async forgetAllCalls(): Promise<void> {
    await this.#core.ask("DELETE", "/v1/calls");
    this.#core.set({ history: [], historyNext: null });
  }

  // --- devices, settings, account ---------------------------------------------------------------------------------------------------

  async refreshDevices(): Promise<void> {
    const core = this.#core;
    const self = core.device();
    const { devices } = await core.ask<wire.Devices>("GET", "/v1/devices");
    const shown = [];
    for (const { device, name, created_at, current, online, certificate, details } of devices) {
      const last = certificate.chain.at(-1)?.device;
      const genuine = certificate.account === self.account && certificate.identity_key === self.certificate.identity_key && last === device && (await verifyCertificate(certificate));
      if (!genuine && !core.state.notices.some((notice) => notice.kind === "ghost_device" && notice.device === device)) {
        core.security.notice("ghost_device", { account: self.account, device });
      }
      const told = details === undefined ? null : { info: details.info, network: details.network, country: details.country ?? null, region: details.region ?? null };
      shown.push({ device, name, createdAt: created_at, current, online, genuine, details: told });
    }
    core.set({ devices: shown });
  }
  async revokeDevice(device: string): Promise<void> {
    if (device === this.#core.device().device) return this.signOut();
    await this.#core.ask("DELETE", `/v1/devices/${device}`);
    await this.refreshDevices();
  }
  async signOutEverywhere(options: { keepCurrent?: boolean } = {}): Promise<void> {
    const body: wire.SignOut = { keep_current: options.keepCurrent ?? false };
    if (!options.keepCurrent) this.#calls.stop();
    await this.#core.ask("POST", "/v1/devices/sign-out", body);
    if (options.keepCurrent) await this.refreshDevices();
    else await this.#signedOut(null);
  }
  async signOut(): Promise<void> {
    const self = this.#core.device();
    this.#calls.stop();
    try {
      await this.#core.ask("DELETE", `/v1/devices/${self.device}`);
    } catch (error) {
      // gone there already is what we want; anything else must not look like a sign-out that the server knows of
      if (!(error instanceof KloudTalkError && (error.code === "unauthenticated" || error.code === "not_found"))) throw error;
    }
    await this.#signedOut(null);
  }
  async changeSettings(settings: SettingsChange): Promise<void> {
    const body: wire.ChangeSettings = {
      ...(settings.whoCanCall === undefined ? {} : { who_can_call: settings.whoCanCall }),
      ...(settings.lastSeen === undefined ? {} : { last_seen: settings.lastSeen }),
      ...(settings.online === undefined ? {} : { online: settings.online }),
      ...(settings.alwaysRelay === undefined ? {} : { always_relay: settings.alwaysRelay }),
      ...(settings.business === undefined ? {} : { business: settings.business }),
    };
    await this.#know(accountState(await this.#core.ask<wire.Account>("PATCH", "/v1/settings", body)));
  }
  async deleteAccount(): Promise<void> {
    this.#calls.stop();
    await this.#core.ask("POST", "/v1/account/deletion", await this.#prove("account.delete"));
    await this.#signedOut(null);
  }
  /** The page's service worker, which is woken for calls while no page is open. `state.push` tells where that stands. */
  usePush(registration: ServiceWorkerRegistration): Promise<void> {
    return this.#pushes.use(registration);
  }
  enablePush(): Promise<void> {
    return this.#pushes.enable();
  }
  disablePush(): Promise<void> {
    return this.#pushes.disable();
  }
  reconnect(): void {
    this.#core.socket?.retryNow();
  }

  /** Asks for the account anew: one that is frozen has no connection that would tell. */
  async refreshAccount(): Promise<void> {
    this.#core.set({ account: accountState(await this.#core.ask<wire.Account>("GET", "/v1/account")) });
  }

  // --- rights -----------------------------------------------------------------------------------------------------------------------

  /** Everything that the server stores about this account: a ZIP archive with `export.json`, its JSON Schema, and media. */
  async exportData(): Promise<Blob> {
    return this.#core.rest.download("POST", "/v1/account/export", { token: this.#core.device().token, body: await this.#prove("account.export") });
  }
  /** Freezes the account: nothing is processed and nothing is lost; or unfreezes it and connects. */
  async restrict(restricted: boolean): Promise<void> {
    if (restricted) this.#calls.stop();
    const body: wire.ChangeRestriction = { restricted, proof: await this.#prove(restricted ? "account.restrict" : "account.unrestrict") };
    this.#core.set({ account: accountState(await this.#core.ask<wire.Account>("PUT", "/v1/account/restriction", body)) });
    if (!restricted) this.reconnect();
  }
  /** What is done without consent, and whether this account objects. */
  async objections(): Promise<readonly Objection[]> {
    const { objections } = await this.#core.ask<wire.Objections>("GET", "/v1/objections");
    return objections.map((one) => ({ interest: one.interest, text: one.text, objected: one.objected, at: one.at ?? null }));
  }
  async object(interest: Objection["interest"], objected: boolean): Promise<void> {
    await this.#core.ask("PUT", `/v1/objections/${interest}`, { objected } satisfies wire.ChangeObjection);
  }
  #prove(act: Act): Promise<wire.Proof> {
    return prove(act, this.#core.device(), this.#core.platform.now());
  }

  // --- inside -------------------------------------------------------------------------------------------------------------------------

  #watchNetwork(): void {
    this.#unwatch = this.#core.platform.network.watch({
      returned: () => {
        this.#moved = true;
        this.#core.socket?.replace();
        this.#core.rest.renew();
      },
      lost: () => { this.#core.socket?.probe(); },
      shown: () => { this.#core.socket?.retryNow(); },
      asleep: () => { this.#core.socket?.sleep(); },
    });
    this.addEventListener("change", () => {
      const { call } = this.state;
      if (this.#core.socket !== null) this.#core.socket.inCall = call !== null && call.stage !== "ended";
    });
  }

  /** Connected again: media take the networks of now. What was interrupted for another reason is seen to after `sync`. */
  #resumeMedia(): void {
    if (this.#moved) this.#calls.restart();
    this.#moved = false;
  }

  /** Takes what the server says of the account. Whether addresses are hidden is kept here too: a call must not wait for the server to say it. */
  async #know(account: AccountState): Promise<void> {
    const { alwaysRelay } = account;
    if (alwaysRelay !== this.#core.state.alwaysRelay) await this.#core.storage.savePreferences({ alwaysRelay });
    this.#core.set({ account, alwaysRelay });
  }

  async #signedIn(device: StoredDevice): Promise<void> {
    await this.#core.storage.saveDevice(device);
    await this.#run(device);
  }

  async #run(self: StoredDevice): Promise<void> {
    const core = this.#core;
    core.self = self;
    const { alwaysRelay } = await core.storage.preferences();
    core.set({ phase: "ready", device: self.device, registration: null, linking: null, signedOutReason: null, alwaysRelay });
    await this.#contacts.restore();
    const url = `${this.#base.replace(/^http/u, "ws")}/v1/ws`;
    core.socket = new Socket(url, self.token, core.platform, {
      connection: (connection) => {
        core.set({ connection });
        if (connection.status !== "online") this.#contacts.disconnected();
        if (connection.cause === "shut_out") this.#calls.shutOut();
      },
      message: (message) => { this.#hear(message); },
      stopped: (reason) => {
        if (reason === "revoked") void this.#signedOut("revoked");
        else {
          this.#calls.stop();
          core.set({ signedOutReason: reason });
        }
      },
    });
    core.socket.connect();
  }

  #hear(message: wire.ServerMessage): void {
    const quietly = (work: Promise<unknown>): void => { work.catch(() => undefined); }; // the next `sync` asks again
    switch (message.type) {
      case "sync":
        this.#core.set({ contactsWanted: message.contacts_wanted, policyWanted: message.policy_wanted ?? false });
        this.#contacts.connected();
        quietly(this.#refresh(message.contacts_wanted));
        break;
      case "contacts.changed": quietly(this.#contacts.changed(message)); return;
      case "contacts.wanted":
        this.#core.set({ contactsWanted: true });
        quietly(this.#contacts.resend());
        return;
      case "devices.changed":
        quietly(message.account === this.#core.self?.account ? this.refreshDevices() : this.#contacts.look(message.account));
        return;
      case "profile.changed":
        quietly(message.account === this.#core.self?.account ? this.#refreshAccount() : this.#profiles.changed(message.account));
        return;
      case "ticket.changed": quietly(this.services.tickets()); return;
      case "presence.changed": this.#contacts.presenceChanged(message); return;
      case "link.claimed": quietly(this.#links.look(message.link)); return;
      default:
    }
    this.#calls.handle(message);
    if (message.type === "sync") this.#resumeMedia();
    if (message.type === "call.ended") quietly(this.history());
  }

  /** What the server knows and this page shows. */
  async #refresh(wanted: boolean): Promise<void> {
    const mine = this.#refreshAccount();
    const contacts = wanted ? this.#contacts.resend().then(() => this.#contacts.refresh()) : this.#contacts.refresh();
    const consents = this.consents().then(async (given) => {
      if (given.some((one) => one.purpose === "device_details" && one.granted)) await this.#describe();
      await this.refreshDevices();
    });
    await Promise.allSettled([mine, this.services.tickets(), contacts.then(() => this.history()), consents]);
  }

  async #refreshAccount(): Promise<void> {
    const core = this.#core;
    const answer = await core.ask<wire.Account>("GET", "/v1/account");
    await this.#know(accountState(answer));
    if (core.self !== null && core.self.phone !== answer.phone) await core.update({ phone: answer.phone });
  }

  /** Tells the server about this device: only with the consent `device_details` (P18). */
  async #describe(): Promise<void> {
    await this.#core.ask("PUT", "/v1/device", { ...deviceInfo(), ...this.#deviceInfo });
  }

  async #signedOut(reason: "revoked" | null): Promise<void> {
    const core = this.#core;
    if (core.self === null) return;
    this.#calls.stop();
    this.#links.stop();
    core.self = null;
    core.socket?.close();
    core.socket = null;
    core.security.forget();
    this.#profiles.forget();
    await core.storage.wipe();
    await this.#pushes.forget().catch(() => undefined); // the server has forgotten it with the device
    await this.#contacts.restore();
    const { call } = core.state;
    core.set({ ...INITIAL, push: core.state.push, call: call?.stage === "ended" ? call : null, signedOutReason: reason });
  }
}

/** What a browser says of itself without being asked twice. */
function deviceInfo(): DeviceInfo {
  const { userAgent = "", language } = globalThis.navigator ?? {};
  const browser = /(Firefox|Edg|OPR|Chrome|Safari)\/[\d]+/u.exec(userAgent)?.[0].replace("/", " ");
  const os = /Android|iPhone|iPad|Mac OS X|Windows|CrOS|Linux/u.exec(userAgent)?.[0];
  const zone = new Intl.DateTimeFormat().resolvedOptions().timeZone;
  return {
    ...(browser === undefined ? {} : { browser }), ...(os === undefined ? {} : { os }), ...(language === undefined ? {} : { language }),
    ...(zone === undefined ? {} : { time_zone: zone }),
  };
}

function region(): CountryCode | undefined {
  try {
    return new Intl.Locale(globalThis.navigator.language).maximize().region as CountryCode | undefined;
  } catch {
    return undefined;
  }
}
