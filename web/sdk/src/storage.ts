/** What a device keeps, in IndexedDB. Private keys are stored as non-extractable `CryptoKey`s. */
import type { DeviceCertificate } from "./wire.js";

/** This device: who it is and its keys. */
export interface StoredDevice {
  readonly account: string;
  readonly device: string;
  /** Session token. */
  readonly token: string;
  readonly phone: string | null;
  readonly signing: CryptoKeyPair;
  readonly sealing: CryptoKeyPair;
  readonly certificate: DeviceCertificate;
  readonly bookKey: CryptoKey | null;
}
/** An address book entry as this device knows it. */
export interface StoredEntry { readonly token: string; readonly name: string; readonly phone: string; readonly account: string | null }
/** What is known of another account's identity key. */
export interface StoredPin {
  readonly account: string;
  readonly identityKey: string;
  readonly verified: boolean;
  /** A different key that the server showed since; the user has not accepted it. */
  readonly changedTo: string | null;
}
/** A registration that was begun. */
export interface StoredRegistration { readonly token: string; readonly account: string | null; readonly state: unknown }

export interface Preferences { readonly alwaysRelay: boolean }

const STORES = ["device", "book", "pins", "registration"] as const;
type Store = (typeof STORES)[number];

export class Storage {
  readonly #database: IDBDatabase;

  private constructor(database: IDBDatabase) {
    this.#database = database;
  }

  static async open(factory: IDBFactory, name: string): Promise<Storage> {
    const request = factory.open(name, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("device");
      request.result.createObjectStore("book", { keyPath: "token" });
      request.result.createObjectStore("pins", { keyPath: "account" });
      request.result.createObjectStore("registration");
    };
    const database = await done(request);
    database.onversionchange = () => { database.close(); };
    return new Storage(database);
  }

  close(): void {
    this.#database.close();
  }

  device(): Promise<StoredDevice | undefined> {
    return this.#read("device", (store) => store.get("self")) as Promise<StoredDevice | undefined>;
  }
  saveDevice(device: StoredDevice): Promise<void> {
    return this.#write(["device", "registration"], (stores) => { stores.registration?.clear(); stores.device?.put(device, "self"); });
  }
  /** What of the account's settings must be known before the server can be asked. */
  async preferences(): Promise<Preferences> {
    return ((await this.#read("device", (store) => store.get("preferences"))) as Preferences | undefined) ?? { alwaysRelay: false };
  }
  savePreferences(preferences: Preferences): Promise<void> {
    return this.#write(["device"], (stores) => stores.device?.put(preferences, "preferences"));
  }
  registration(): Promise<StoredRegistration | undefined> {
    return this.#read("registration", (store) => store.get("self")) as Promise<StoredRegistration | undefined>;
  }
  saveRegistration(registration: StoredRegistration | null): Promise<void> {
    return this.#write(["registration"], (stores) => registration === null ? stores.registration?.clear() : stores.registration?.put(registration, "self"));
  }
  book(): Promise<StoredEntry[]> {
    return this.#read("book", (store) => store.getAll()) as Promise<StoredEntry[]>;
  }
  saveEntries(put: readonly StoredEntry[], remove: readonly string[] = []): Promise<void> {
    return this.#write(["book"], (stores) => {
      for (const token of remove) stores.book?.delete(token);
      for (const entry of put) stores.book?.put(entry);
    });
  }
  replaceBook(entries: readonly StoredEntry[]): Promise<void> {
    return this.#write(["book"], (stores) => { stores.book?.clear(); for (const entry of entries) stores.book?.put(entry); });
  }
  pins(): Promise<StoredPin[]> {
    return this.#read("pins", (store) => store.getAll()) as Promise<StoredPin[]>;
  }
  savePin(pin: StoredPin): Promise<void> {
    return this.#write(["pins"], (stores) => stores.pins?.put(pin));
  }
  /** Forgets everything, keys included. */
  wipe(): Promise<void> {
    return this.#write([...STORES], (stores) => { for (const name of STORES) stores[name]?.clear(); });
  }

  #read(name: Store, ask: (store: IDBObjectStore) => IDBRequest): Promise<unknown> {
    return done(ask(this.#database.transaction(name, "readonly").objectStore(name)));
  }

  #write(names: Store[], act: (stores: Partial<Record<Store, IDBObjectStore>>) => unknown): Promise<void> {
    const transaction = this.#database.transaction(names, "readwrite");
    act(Object.fromEntries(names.map((name) => [name, transaction.objectStore(name)])));
    return new Promise((resolve, reject) => {
      transaction.oncomplete = () => { resolve(); };
      transaction.onabort = transaction.onerror = () => { reject(transaction.error ?? new Error("the browser's storage failed")); };
    });
  }
}

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => { resolve(request.result); };
    request.onerror = () => { reject(request.error ?? new Error("the browser's storage failed")); };
  });
}
