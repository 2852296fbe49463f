/** What the parts of the client share: the state, the device, the server. */
import { KloudTalkError } from "./errors.js";
import type { Platform } from "./platform.js";
import type { RestClient } from "./rest.js";
import type { Security } from "./security.js";
import type { Request, Socket } from "./socket.js";
import { INITIAL, type ClientState, type SecurityNotice } from "./state.js";
import type { Storage, StoredDevice } from "./storage.js";
import type { Ok } from "./wire.js";

const NOTICES = 100;

export class Core {
  state: ClientState = INITIAL;
  /** This device, once it is signed in. */
  self: StoredDevice | null = null;
  socket: Socket | null = null;
  security!: Security;

  constructor(
    readonly platform: Platform,
    readonly rest: RestClient,
    readonly storage: Storage,
    readonly emit: (name: "change" | "incoming" | "ended" | "notice", detail: unknown) => void,
    /** Signs this device in: stores it, connects. */
    readonly signedIn: (device: StoredDevice) => Promise<void>,
  ) {}

  set(patch: Partial<ClientState>): void {
    this.state = { ...this.state, ...patch };
    this.emit("change", this.state);
  }

  notify(notice: SecurityNotice): void {
    const { call, notices } = this.state;
    this.set({
      notices: [...notices, notice].slice(-NOTICES),
      call: call !== null && notice.call === call.id ? { ...call, notices: [...call.notices, notice] } : call,
    });
    this.emit("notice", notice);
  }

  /** Throws `wrong_phase` when not signed in. */
  device(): StoredDevice {
    if (this.self === null) throw new KloudTalkError("wrong_phase");
    return this.self;
  }

  /** A REST request of the signed-in device. */
  async ask<T = void>(method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE", path: string, body?: unknown): Promise<T> {
    return this.rest.ask<T>(method, path, { token: this.device().token, body });
  }

  /** A WebSocket request. */
  request(request: Request): Promise<Ok> {
    return this.socket === null ? Promise.reject(new KloudTalkError("network")) : this.socket.request(request);
  }

  async update(change: Partial<StoredDevice>): Promise<void> {
    this.self = { ...this.device(), ...change };
    await this.storage.saveDevice(this.self);
  }
}
