/** Contacts: finding people without showing the phonebook (P05, P06, P08), the encrypted book (P07), blocks, what is believed of them (P10). */
import { decryptEntry, encryptEntry } from "./address-book.js";
import { randomBytes } from "./bytes.js";
import { importBookKey } from "./address-book.js";
import type { Core } from "./core.js";
import { KloudTalkError } from "./errors.js";
import { OprfClient } from "./oprf.js";
import type { Profiles } from "./profiles.js";
import { safetyNumber } from "./safety-number.js";
import type { Contact, PhonebookEntry, UploadResult } from "./state.js";
import type { StoredEntry } from "./storage.js";
import type * as wire from "./wire.js";

const EVALUATIONS = 500;
const UPLOAD = 500;

const WATCHED = 500;

export class Contacts {
  readonly #core: Core;
  readonly #book = new Map<string, StoredEntry>();
  readonly #presences = new Map<string, wire.Presence>();
  #watched = "";
  readonly #profiles: Profiles;

  constructor(core: Core, profiles: Profiles) {
    this.#core = core;
    this.#profiles = profiles;
    profiles.onChange = () => { this.show(); };
  }

  async restore(): Promise<void> {
    this.#book.clear();
    for (const entry of await this.#core.storage.book()) this.#book.set(entry.token, entry);
    this.show();
  }

  /** Draws `state.contacts` anew from book, pins and blocks. */
  show(): void {
    const blocks = new Set(this.#core.state.blocks);
    const contacts = [...this.#book.values()].map((entry): Contact => {
      const pin = entry.account === null ? undefined : this.#core.security.pin(entry.account);
      const profile = entry.account === null ? undefined : this.#profiles.of(entry.account);
      const seen = entry.account === null ? undefined : this.#presences.get(entry.account);
      return {
        ...entry, pinned: pin !== undefined, verified: pin?.verified ?? false, identityChanged: pin?.changedTo != null,
        blocked: entry.account !== null && blocks.has(entry.account), online: seen?.online ?? null, lastSeenAt: seen?.last_seen ?? null,
        business: profile?.business ?? false, ownName: profile?.name ?? null, about: profile?.about ?? null, aboutChangedAt: profile?.about_changed_at ?? null,
        pictureChangedAt: profile?.picture_changed_at ?? null,
      };
    });
    contacts.sort((a, b) => a.name.localeCompare(b.name) || a.phone.localeCompare(b.phone));
    this.#core.set({ contacts });
    this.#watch();
  }

  /** The connection is new: the hub knows nothing of what this device watches. */
  connected(): void {
    this.#watched = "";
    this.#watch();
  }

  /** Not connected: who is online is not known. */
  disconnected(): void {
    if (this.#presences.size === 0) return;
    this.#presences.clear();
    this.show();
  }

  presenceChanged(message: wire.PresenceChanged): void {
    for (const presence of message.presences) this.#presences.set(presence.account, presence);
    this.show();
  }

  #accounts(): string[] {
    return [...new Set(this.#core.state.contacts.flatMap((contact) => (contact.account === null ? [] : [contact.account])))];
  }

  /** Watches the contacts that are accounts, the first of them when there are very many (P16). */
  #watch(): void {
    if (!(this.#core.socket?.online ?? false) || this.#core.state.policyWanted) return;
    const accounts = this.#accounts().slice(0, WATCHED);
    const list = accounts.join();
    if (list === this.#watched) return;
    this.#watched = list;
    this.#core.request({ type: "presence.watch", accounts }).catch((error: unknown) => {
      if (!(error instanceof KloudTalkError) || error.code === "network" || this.#watched !== list) return; // after the next `sync`
      this.#core.platform.setTimeout(() => {
        if (this.#watched !== list) return;
        this.#watched = "";
        this.#watch();
      }, (error.retryAfter ?? 5) * 1000);
    });
  }

  byAccount(account: string): StoredEntry | undefined {
    return [...this.#book.values()].find((entry) => entry.account === account);
  }

  async upload(entries: readonly PhonebookEntry[], onProgress: (done: number, total: number) => void): Promise<UploadResult> {
    const core = this.#core;
    const key = await this.#bookKey();
    const known = new Map([...this.#book.values()].map((entry) => [entry.phone, entry]));
    const unique = [...new Map(entries.filter((entry) => entry.phone !== core.device().phone).map((entry) => [entry.phone, entry])).values()];
    const fresh = unique.filter((entry) => !known.has(entry.phone));
    const renamed = unique.flatMap((entry) => {
      const before = known.get(entry.phone);
      return before !== undefined && before.name !== entry.name ? [{ ...before, name: entry.name }] : [];
    });
    let [done, count, matches, remaining]: [number, number, number, number | null] = [0, this.#book.size, 0, null];
    onProgress(0, fresh.length);
    const oprf = new OprfClient();
    for (let at = 0; at < fresh.length; at += EVALUATIONS) {
      const some = fresh.slice(at, at + EVALUATIONS);
      const blinded = [];
      for (const [i, entry] of some.entries()) {
        blinded.push(oprf.blind(entry.phone));
        if (i % 16 === 15) await this.#breathe(); // 16 numbers are some 50 ms: the page stays alive
      }
      const answer = await core.ask<wire.Evaluated>("POST", "/v1/discovery/evaluations", { blinded: blinded.map((b) => b.blinded) });
      remaining = answer.remaining;
      const add: StoredEntry[] = [];
      for (const [i, entry] of some.entries()) {
        const [b, evaluated] = [blinded[i], answer.evaluated[i]];
        if (b === undefined || evaluated === undefined) throw new KloudTalkError("unavailable");
        add.push({ token: oprf.finalize(b, evaluated), name: entry.name, phone: entry.phone, account: null });
        if (i % 16 === 15) {
          await this.#breathe();
          onProgress(done + i, fresh.length);
        }
      }
      const result = await this.#change(key, add, []);
      [count, matches] = [result.count, matches + result.matches.length];
      done += some.length;
      onProgress(done, fresh.length);
    }
    for (let at = 0; at < renamed.length; at += UPLOAD) count = (await this.#change(key, renamed.slice(at, at + UPLOAD), [])).count;
    return { count, added: fresh.length, matches, remaining };
  }

  /** Sends the whole book again from this device: the server lost its copy, of which there is no backup (P07). */
  async resend(): Promise<void> {
    if (this.#book.size === 0 || this.#core.self?.bookKey == null) return;
    const all = [...this.#book.values()];
    for (let at = 0; at < all.length; at += UPLOAD) await this.#change(await this.#bookKey(), all.slice(at, at + UPLOAD), []);
    this.#core.set({ contactsWanted: false });
  }

  async refresh(): Promise<void> {
    const core = this.#core;
    const { bookKey } = core.device();
    const [book, blocks] = await Promise.all([core.ask<wire.AddressBook>("GET", "/v1/contacts"), core.ask<wire.Blocks>("GET", "/v1/blocks")]);
    core.set({ blocks: blocks.accounts });
    const entries: StoredEntry[] = [];
    for (const { token, entry, account } of book.entries) {
      const open = bookKey === null ? null : await decryptEntry(bookKey, token, entry);
      const readable = open ?? this.#book.get(token);
      if (readable !== undefined) entries.push({ token, name: readable.name, phone: readable.phone, account: account ?? null });
    }
    // a book that the server lost is kept here, to be sent again
    if (entries.length === 0 && this.#book.size > 0 && core.state.contactsWanted) return;
    this.#book.clear();
    for (const entry of entries) this.#book.set(entry.token, entry);
    await core.storage.replaceBook(entries);
    this.show();
    await this.#profiles.refresh(this.#accounts());
  }

  async remove(phones: readonly string[]): Promise<void> {
    const gone = new Set(phones);
    const tokens = [...this.#book.values()].filter((entry) => gone.has(entry.phone)).map((entry) => entry.token);
    for (let at = 0; at < tokens.length; at += UPLOAD) await this.#change(null, [], tokens.slice(at, at + UPLOAD));
  }

  async deleteAll(): Promise<void> {
    await this.#core.ask("DELETE", "/v1/contacts");
    await this.clear();
  }

  /** This device's copy only. */
  async clear(): Promise<void> {
    this.#book.clear();
    await this.#core.storage.replaceBook([]);
    this.show();
  }

  async changed(message: wire.ContactsChanged): Promise<void> {
    const removed = new Set(message.removed ?? []);
    const put: StoredEntry[] = [];
    let unknown = false;
    for (const entry of this.#book.values()) if (entry.account !== null && removed.has(entry.account)) put.push({ ...entry, account: null });
    for (const { token, account } of message.added ?? []) {
      const entry = this.#book.get(token);
      if (entry === undefined) unknown = true; // another device of this account added it
      else put.push({ ...entry, account });
    }
    for (const entry of put) this.#book.set(entry.token, entry);
    await this.#core.storage.saveEntries(put);
    this.show();
    if (unknown) await this.refresh();
    else if ((message.added ?? []).length > 0) await this.#profiles.refresh(this.#accounts());
  }

  /** A contact's devices changed: look whether they are still the same person's (P10). */
  async look(account: string): Promise<void> {
    if (this.byAccount(account) === undefined) return;
    const { certificates } = await this.#core.ask<wire.AccountDevices>("GET", `/v1/accounts/${account}/devices`);
    await this.#core.security.judge(account, certificates);
    this.show();
  }

  async block(account: string, blocked: boolean): Promise<void> {
    await this.#core.ask(blocked ? "PUT" : "DELETE", `/v1/blocks/${account}`);
    const others = this.#core.state.blocks.filter((other) => other !== account);
    this.#core.set({ blocks: blocked ? [...others, account] : others });
    this.show();
  }

  async safetyNumber(account: string): Promise<string> {
    const self = this.#core.device();
    if (this.#core.security.pin(account) === undefined) {
      const { certificates } = await this.#core.ask<wire.AccountDevices>("GET", `/v1/accounts/${account}/devices`);
      await this.#core.security.judge(account, certificates);
      this.show();
    }
    const pin = this.#core.security.pin(account);
    if (pin === undefined) throw new KloudTalkError("no_devices");
    return safetyNumber({ account: self.account, identityKey: self.certificate.identity_key }, { account, identityKey: pin.changedTo ?? pin.identityKey });
  }

  async #change(key: CryptoKey | null, add: readonly StoredEntry[], remove: readonly string[]): Promise<wire.ContactsChange> {
    const encrypted: wire.Entry[] = [];
    if (key !== null) for (const entry of add) encrypted.push({ token: entry.token, entry: await encryptEntry(key, entry.token, entry) });
    const body: wire.ChangeContacts = { add: encrypted, remove };
    const result = await this.#core.ask<wire.ContactsChange>("POST", "/v1/contacts", body);
    const found = result.matches.length > 0;
    const matches = new Map(result.matches.map((match) => [match.token, match.account]));
    const put = add.map((entry) => ({ ...entry, account: matches.get(entry.token) ?? null }));
    for (const token of remove) this.#book.delete(token);
    for (const entry of put) this.#book.set(entry.token, entry);
    await this.#core.storage.saveEntries(put, remove);
    this.show();
    if (found) await this.#profiles.refresh(this.#accounts());
    return result;
  }

  async #bookKey(): Promise<CryptoKey> {
    const { bookKey } = this.#core.device();
    if (bookKey !== null) return bookKey;
    const made = await importBookKey(randomBytes(32));
    await this.#core.update({ bookKey: made });
    return made;
  }

  #breathe(): Promise<void> {
    return new Promise((resolve) => { this.#core.platform.setTimeout(resolve, 0); });
  }
}
