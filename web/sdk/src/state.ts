/** The client's state, as immutable snapshots: what a page draws. `API.md` says what each field means. */
import type { Heard } from "./sound-check.js";
import type { Policy, PurposeText, Reason, ServerInfo } from "./wire.js";

export type { Heard };
export type { Policy, ServerInfo };
export type Phase = "signed_out" | "registering" | "linking" | "ready";
/** Whether this browser is woken for calls: it cannot be, the user has forbidden notifications, no, or yes. */
export type PushStatus = "unsupported" | "denied" | "off" | "on";
export type WhoCanCall = "everyone" | "contacts" | "nobody";
export type LastSeenTo = "everyone" | "contacts" | "contacts_except" | "nobody";
export type BlockedFor = "abuse" | "spam" | "fraud" | "legal" | "security" | "terms";
export type OnlineTo = LastSeenTo | "same_as_last_seen";
export type EndReason = Reason;
export type CallStage = "inviting" | "ringing" | "connecting" | "connected" | "ended";

/** Times named `…At` are milliseconds since the epoch, everywhere. */
export interface ConnectionState {
  readonly status: "offline" | "connecting" | "online" | "waiting";
  readonly retryAt: number | null;
  /** Why it waits. */
  readonly cause: ConnectionCause | null;
}
/**
 * `no_network`: the browser has none. `server`: the server does not answer. `interrupted`: the connection broke. `going_away`: the server is
 * restarted or hands over. `rate_limited`: this device sent too much. `shut_out`: the
 * account is frozen or blocked; the account says which.
 */
export type ConnectionCause = "no_network" | "server" | "interrupted" | "going_away" | "rate_limited" | "shut_out";
export interface RegistrationState {
  readonly phone: string; readonly email: string; readonly phoneVerified: boolean; readonly emailVerified: boolean;
  readonly expiresAt: number; readonly resendAt: { readonly phone: number | null; readonly email: number | null };
}
export interface LinkingState { readonly state: "claimed" | "refused" | "expired" | "failed"; readonly expiresAt: number; readonly deviceName: string }
export interface OpenLinkState {
  readonly link: string; readonly code: string; readonly state: "waiting" | "claimed" | "approved" | "refused" | "expired"; readonly expiresAt: number;
  /** Of the device that claims to know the code. */
  readonly deviceName: string | null;
  /** Its MAC proves that it knows the code; false: somebody else is in between, do not approve. */
  readonly genuine: boolean | null;
}
export interface AccountState {
  readonly account: string; readonly phone: string; readonly email: string; readonly createdAt: number; readonly policyVersion: string;
  readonly whoCanCall: WhoCanCall;
  /** Who sees when this account was last connected, and who sees that it is now (P16). Who hides theirs does not see others'. */
  readonly lastSeen: { readonly to: LastSeenTo; readonly excepted: readonly string[] };
  readonly online: { readonly to: OnlineTo; readonly excepted: readonly string[] };
  readonly alwaysRelay: boolean;
  /** Since when the account is frozen; null: it is not. */
  readonly restrictedAt: number | null;
  /** Since when the account is blocked by who runs the server, and what for; null: it is not. */
  readonly blockedAt: number | null;
  readonly blockedFor: BlockedFor | null;
  /** A business: who deals with it sees that. */
  readonly business: boolean;
  /** Of the number (ISO 3166-1 alpha-2). */
  readonly country: string | null;
  /** What contacts see, as far as it was given. */
  readonly name: string | null; readonly about: string | null; readonly aboutChangedAt: number | null; readonly pictureChangedAt: number | null;
}
export interface SettingsChange {
  readonly whoCanCall?: WhoCanCall;
  /** `excepted`: accounts that do not see it with `contacts_except`; left out, the list stays as it is. */
  readonly lastSeen?: { readonly to: LastSeenTo; readonly excepted?: readonly string[] };
  readonly online?: { readonly to: OnlineTo; readonly excepted?: readonly string[] };
  readonly alwaysRelay?: boolean;
  readonly business?: boolean;
}
export interface Objection {
  readonly interest: "announcements" | "statistics";
  /** What is done, and what an objection does, word for word. */
  readonly text: string; readonly objected: boolean; readonly at: number | null;
}
export interface DeviceState {
  readonly device: string; readonly name: string; readonly createdAt: number; readonly current: boolean; readonly online: boolean;
  /** Its certificate comes from this account's identity key. */
  readonly genuine: boolean;
  /** What it told about itself, with the consent `device_details`, and the network that it told it from. */
  readonly details: DeviceDetails | null;
}
export interface DeviceInfo {
  readonly model?: string; readonly os?: string; readonly app_version?: string; readonly browser?: string; readonly operator?: string;
  readonly language?: string; readonly time_zone?: string;
  /** Percent. */
  readonly battery?: number; readonly signal?: number;
}
export interface DeviceDetails { readonly info: DeviceInfo; readonly network: string; readonly country: string | null; readonly region: string | null }
export type Purpose = PurposeText["purpose"];
export interface Consent {
  readonly purpose: Purpose; readonly granted: boolean; readonly at: number | null; readonly policyVersion: string | null;
  /** There was a yes, to words that have changed since: ask again. */
  readonly changed: boolean;
}
export interface Contact {
  readonly token: string; readonly name: string; readonly phone: string; readonly account: string | null;
  readonly pinned: boolean; readonly verified: boolean; readonly identityChanged: boolean; readonly blocked: boolean; readonly business: boolean;
  /** Connected now; null when it is hidden or not known. */
  readonly online: boolean | null;
  /** When last connected, a whole minute; null when it is hidden or not known, and while `online`. */
  readonly lastSeenAt: number | null;
  /** What the person says of themselves, as far as it may be seen; `picture()` fetches the picture. */
  readonly ownName: string | null; readonly about: string | null; readonly aboutChangedAt: number | null; readonly pictureChangedAt: number | null;
}
export interface PhonebookEntry { readonly name: string; readonly phone: string }
export interface ParsedPhonebook {
  readonly entries: PhonebookEntry[];
  readonly rejected: { readonly line: string; readonly reason: "no_number" | "invalid_number" }[];
  readonly duplicates: number;
}
export interface UploadResult { readonly count: number; readonly added: number; readonly matches: number; readonly remaining: number | null }
/**
 * What carries a call: both in one network (`host`), through the NATs between (`srflx`), a TURN server of ours over UDP, TCP or TLS, one of the
 * other side's (`turn_peer`), or the relay of last resort.
 */
export type Rung = "host" | "srflx" | "turn_udp" | "turn_tcp" | "turn_tls" | "turn_peer" | "relay";
export interface CallQuality {
  readonly rttMs: number | null; readonly jitterMs: number | null;
  /** Of the last seconds: packets that did not come; sound that had to be made up for them. */
  readonly lossPercent: number | null; readonly concealedPercent: number | null;
  /** Mean opinion score of what is heard, 1 to 4.4. */
  readonly mos: number | null;
  readonly level: "good" | "fair" | "poor" | "unknown";
  readonly path: "direct" | "relay" | null; readonly rung: Rung | null;
  /** Packets of sound since the call began: sent, received, and not received though they were sent. */
  readonly packetsSent: number; readonly packetsReceived: number; readonly packetsLost: number;
}
export interface CallState {
  readonly id: string; readonly direction: "outgoing" | "incoming"; readonly stage: CallStage;
  readonly peer: { readonly account: string; readonly name: string | null; readonly phone: string | null; readonly device: string | null; readonly verified: boolean;
    /** A business, which the callee sees before taking the call (P30). */
    readonly business: boolean };
  readonly startedAt: number; readonly connectedAt: number | null; readonly endedAt: number | null;
  readonly muted: boolean; readonly held: boolean; readonly peerMuted: boolean; readonly peerHeld: boolean;
  readonly media: "none" | "connecting" | "flowing" | "interrupted";
  readonly quality: CallQuality;
  readonly safetyNumber: string | null;
  readonly identityChanged: boolean;
  readonly notices: readonly SecurityNotice[];
  readonly endReason: EndReason | null;
  /** Ways for the media, in the order of the ladder, and what became of each. Empty before the callee took the call. */
  readonly tried: readonly Attempt[];
  /** In a test call: what the echo hears of this device. */
  readonly heard: Heard | null;
}
/** Host and reflexive addresses, the server's TURN servers, its relay. */
export type TriedWay = "direct" | "turn" | "relay";
/**
 * `outcome`, null while it is not known: it `carried` media; nothing came through (`no_answer`); it was not tried as an address is to stay `hidden`; the
 * server has `none`; its server is `unreachable`, or `refused`; every relay is `full`.
 */
export interface Attempt {
  readonly way: TriedWay;
  readonly outcome: "carried" | "no_answer" | "hidden" | "none" | "unreachable" | "refused" | "full" | null;
}
/** A connected call of this account at another of its devices: `takeOver` continues it here. */
export interface CallElsewhere {
  readonly id: string;
  /** The own device that is in it. */
  readonly device: string;
  /** The other side. */
  readonly account: string; readonly phone: string | null;
  readonly connectedAt: number;
}
export interface CallRecord {
  readonly call: string; readonly peer: string; readonly name: string | null; readonly phone: string | null; readonly outgoing: boolean;
  readonly reason: EndReason; readonly startedAt: number; readonly endedAt: number; readonly connectedAt: number | null;
  /** The other side is a business. */
  readonly business: boolean;
  /** How well it was heard, with the consent `quality`; null: not kept. */
  readonly quality: RecordedQuality | null;
}
/** Mean opinion score, loss as a share (0 to 1), round trip in milliseconds; null where it is not known. */
export interface RecordedQuality {
  readonly mos: number | null; readonly level: CallQuality["level"];
  readonly lossReceived: number | null; readonly lossSent: number | null; readonly rttMs: number | null;
}
export interface HistoryPage { readonly calls: readonly CallRecord[]; readonly next: string | null }
export type NoticeKind =
  | "signature_invalid" | "cannot_open" | "replayed" | "certificate_invalid" | "identity_changed" | "ghost_device" | "wrong_sender" | "fingerprint_mismatch";
export interface SecurityNotice {
  readonly kind: NoticeKind; readonly at: number; readonly account: string | null; readonly device: string | null; readonly call: string | null;
  /** A sentence for a person. */
  readonly detail: string;
}
export interface ClientState {
  readonly phase: Phase;
  readonly connection: ConnectionState;
  readonly registration: RegistrationState | null;
  readonly linking: LinkingState | null;
  readonly openLink: OpenLinkState | null;
  readonly account: AccountState | null;
  readonly device: string | null;
  readonly devices: readonly DeviceState[];
  readonly consents: readonly Consent[];
  readonly contacts: readonly Contact[];
  readonly contactsWanted: boolean;
  /** Answers of support that nobody has read yet. */
  readonly unreadAnswers: number;
  /** The privacy policy has a new version, which must be acknowledged before anything new is done (P04). */
  readonly policyWanted: boolean;
  readonly blocks: readonly string[];
  readonly history: readonly CallRecord[];
  readonly historyNext: string | null;
  readonly push: PushStatus;
  readonly call: CallState | null;
  readonly elsewhere: readonly CallElsewhere[];
  readonly notices: readonly SecurityNotice[];
  readonly signedOutReason: "revoked" | "replaced" | null;
  /** The account's setting, known before the account is: calls go through relays only, so that nobody learns this device's IP address from them. */
  readonly alwaysRelay: boolean;
  /** The account that answers test calls, once `soundCheck` or `history` has asked for it; null: none is known. */
  readonly echo: string | null;
}

/** Before anything is known. */
export const INITIAL: ClientState = {
  phase: "signed_out", connection: { status: "offline", retryAt: null, cause: null }, registration: null, linking: null, openLink: null, account: null, device: null,
  devices: [], consents: [], contacts: [], contactsWanted: false, unreadAnswers: 0, policyWanted: false, blocks: [], history: [], historyNext: null, push: "unsupported", call: null, elsewhere: [], notices: [], signedOutReason: null, alwaysRelay: false, echo: null,
};
