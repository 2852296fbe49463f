// Generated from docs/openapi.json and docs/asyncapi.json by scripts/generate-types.mjs. Do not edit.

/** The user's own account. */
export interface Account {
  /** account: 128 bits, base64url */
  readonly account: string;
  /** phone number, E.164 */
  readonly phone: string;
  readonly email: string;
  /** 32 bytes, unpadded base64url (a public key) */
  readonly identity_key: string;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly created_at: number;
  readonly policy_version: string;
  readonly who_can_call: WhoCanCall;
  readonly last_seen: LastSeenRule;
  readonly online: OnlineRule;
  readonly always_relay: boolean;
  readonly country: string;
  readonly business?: boolean;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly restricted_at?: number;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly blocked_at?: number;
  readonly blocked_for?: BlockedFor;
  readonly name?: string;
  readonly about?: string;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly about_changed_at?: number;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly picture_changed_at?: number;
}

/** The devices of an account that one may call, with what proves whose they are. */
export interface AccountDevices {
  /** account: 128 bits, base64url */
  readonly account: string;
  readonly certificates: readonly DeviceCertificate[];
  readonly business?: boolean;
}

/** The user has read this version of the policy. */
export interface AcknowledgePolicy {
  readonly version: string;
}

/** More about a ticket; a closed one is opened again. */
export interface AddTicketMessage {
  readonly text: string;
  readonly attachments?: readonly Attachment[];
}

/** The uploaded address book. */
export interface AddressBook {
  readonly entries: readonly Entry[];
}

/** News about the service. */
export interface Announcement {
  readonly announcement: string;
  readonly title: string;
  readonly text: string;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly at: number;
}

/** What is announced, newest first. Nothing to who objects to announcements. */
export interface Announcements {
  readonly announcements: readonly Announcement[];
}

/** The old device vouches for the new one. */
export interface ApproveLink {
  readonly certificate: DeviceCertificate;
  /** 32 bytes, unpadded base64url (HMAC-SHA-256) */
  readonly mac: string;
  /** sealed payload, base64url; opaque to the hub */
  readonly sealed: string;
}

/** Whose profiles. */
export interface AskProfiles {
  readonly accounts: readonly string[];
}

/** A file that the user chose to attach: a copy of a message, a contact, a picture of the screen. */
export interface Attachment {
  readonly name: string;
  readonly media_type: string;
  /** base64url */
  readonly content: string;
}

/** An attachment. */
export interface AttachmentContent {
  readonly name: string;
  readonly media_type: string;
  /** base64url */
  readonly content: string;
}

/** An attachment without its content. */
export interface AttachmentInfo {
  /** attachment of a ticket: 128 bits, base64url */
  readonly attachment: string;
  readonly name: string;
  readonly media_type: string;
  readonly bytes: number;
}

/** What an account is blocked for, as its user is told. */
export type BlockedFor = "abuse" | "fraud" | "legal" | "security" | "spam" | "terms";

/** Accounts that the user blocked. */
export interface Blocks {
  readonly accounts: readonly string[];
}

/** This device of the callee takes the call; `payload` is its answer, sealed for the caller's device. First one wins. */
export interface CallAccept {
  readonly type: "call.accept";
  /** chosen by the sender of a request, repeated in its answer */
  readonly id: number;
  /** call: 128 bits, base64url, chosen by the caller */
  readonly call: string;
  /** sealed payload, base64url; opaque to the hub */
  readonly payload: string;
}

/** To the caller: the callee took the call on `peer.device`; `payload` is the answer, sealed for this device. */
export interface CallAnswered {
  readonly type: "call.answered";
  /** call: 128 bits, base64url, chosen by the caller */
  readonly call: string;
  readonly seq: number;
  readonly peer: Peer;
  /** sealed payload, base64url; opaque to the hub */
  readonly payload: string;
}

/** This device is in another call. The call ends as `busy` when no device of the callee is free. */
export interface CallBusy {
  readonly type: "call.busy";
  /** chosen by the sender of a request, repeated in its answer */
  readonly id: number;
  /** call: 128 bits, base64url, chosen by the caller */
  readonly call: string;
}

/** Media flows at this device. The call is `connected` when both said so. */
export interface CallConnected {
  readonly type: "call.connected";
  /** chosen by the sender of a request, repeated in its answer */
  readonly id: number;
  /** call: 128 bits, base64url, chosen by the caller */
  readonly call: string;
  readonly rung?: Rung;
}

/** The callee does not want the call: it ends on every device. */
export interface CallDecline {
  readonly type: "call.decline";
  /** chosen by the sender of a request, repeated in its answer */
  readonly id: number;
  /** call: 128 bits, base64url, chosen by the caller */
  readonly call: string;
}

/** One connected call of the account at another of its devices: `call.take_over` takes it over. */
export interface CallElsewhere {
  /** call: 128 bits, base64url, chosen by the caller */
  readonly call: string;
  readonly seq: number;
  /** device: 128 bits, base64url, chosen by the device */
  readonly device: string;
  readonly outgoing: boolean;
  readonly peer: Peer;
  readonly connected_for: number;
}

/** That call is over. */
export interface CallElsewhereOver {
  readonly type: "call.elsewhere_over";
  /** call: 128 bits, base64url, chosen by the caller */
  readonly call: string;
  readonly seq: number;
}

/** The call is over for this device. `superseded_by` names the call that goes on in its place (glare): end silently. */
export interface CallEnded {
  readonly type: "call.ended";
  /** call: 128 bits, base64url, chosen by the caller */
  readonly call: string;
  readonly seq: number;
  readonly reason: Reason;
  /** call: 128 bits, base64url, chosen by the caller */
  readonly superseded_by?: string;
}

/** Every way for media was tried without success: the call ends as `failed`. */
export interface CallFailed {
  readonly type: "call.failed";
  /** chosen by the sender of a request, repeated in its answer */
  readonly id: number;
  /** call: 128 bits, base64url, chosen by the caller */
  readonly call: string;
}

/** End the call. From the caller before an accept this is `cancelled`, afterwards `hangup`. */
export interface CallHangup {
  readonly type: "call.hangup";
  /** chosen by the sender of a request, repeated in its answer */
  readonly id: number;
  /** call: 128 bits, base64url, chosen by the caller */
  readonly call: string;
}

/** A page of the call history, newest first. */
export interface CallHistory {
  readonly calls: readonly CallRecord[];
  readonly next?: string;
}

/** A call for this device. `accepted` is set when the call is already taken by this device (glare): answer, do not ring. */
export interface CallIncoming {
  readonly type: "call.incoming";
  /** call: 128 bits, base64url, chosen by the caller */
  readonly call: string;
  readonly seq: number;
  readonly peer: Peer;
  /** sealed payload, base64url; opaque to the hub */
  readonly payload: string;
  readonly expires_in: number;
  readonly accepted?: boolean;
}

/** Start a call: one sealed payload (offer and first candidates) for each device of the callee. */
export interface CallInvite {
  readonly type: "call.invite";
  /** chosen by the sender of a request, repeated in its answer */
  readonly id: number;
  /** call: 128 bits, base64url, chosen by the caller */
  readonly call: string;
  /** account: 128 bits, base64url */
  readonly to: string;
  readonly payloads: { readonly [key: string]: string };
}

/** A call of the account is connected at another of its devices, or has moved to yet another. */
export interface CallIsElsewhere {
  readonly type: "call.elsewhere";
  /** call: 128 bits, base64url, chosen by the caller */
  readonly call: string;
  readonly seq: number;
  /** device: 128 bits, base64url, chosen by the device */
  readonly device: string;
  readonly outgoing: boolean;
  readonly peer: Peer;
  readonly connected_for: number;
}

/** Media flow again at this device of a connected call, after they stopped or took another way. For whoever runs the service; the other side learns it from the media. */
export interface CallMoved {
  readonly type: "call.moved";
  /** chosen by the sender of a request, repeated in its answer */
  readonly id: number;
  /** call: 128 bits, base64url, chosen by the caller */
  readonly call: string;
  readonly rung: Rung;
}

/** One line of the user's call history. */
export interface CallRecord {
  /** call: 128 bits, base64url, chosen by the caller */
  readonly call: string;
  /** account: 128 bits, base64url */
  readonly peer: string;
  readonly outgoing: boolean;
  readonly reason: Reason;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly started_at: number;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly ended_at: number;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly connected_at?: number;
  readonly business?: boolean;
  readonly quality?: KeptQuality;
}

/** The device's leg of the call's relay, for its ICE credentials; others than before restart ICE on the leg. `ok` carries it in `leg`. The same as `POST /v1/calls/{call}/relay`, over the connection that a call keeps watch on: when networks change, a browser's HTTP connections are dead for as long as it does not know. */
export interface CallRelay {
  readonly type: "call.relay";
  /** chosen by the sender of a request, repeated in its answer */
  readonly id: number;
  /** call: 128 bits, base64url, chosen by the caller */
  readonly call: string;
  /** ice-ufrag (RFC 8839, section 5.4) */
  readonly ufrag: string;
  /** ice-pwd (RFC 8839, section 5.4) */
  readonly pwd: string;
}

/** The relay that carries the call is about to end, or has died: ask for a leg again (`call.relay`) and restart ICE. */
export interface CallRelayEnding {
  readonly type: "call.relay_ending";
  /** call: 128 bits, base64url, chosen by the caller */
  readonly call: string;
}

/** This device of the callee rings. */
export interface CallRinging {
  readonly type: "call.ringing";
  /** chosen by the sender of a request, repeated in its answer */
  readonly id: number;
  /** call: 128 bits, base64url, chosen by the caller */
  readonly call: string;
}

/** To the caller: a device of the callee rings. */
export interface CallRings {
  readonly type: "call.rings";
  /** call: 128 bits, base64url, chosen by the caller */
  readonly call: string;
  readonly seq: number;
}

/** A sealed payload for one device in the call: candidates, ICE restart, hold, mute, renegotiation. Opaque to the hub. */
export interface CallSignal {
  readonly type: "call.signal";
  /** chosen by the sender of a request, repeated in its answer */
  readonly id: number;
  /** call: 128 bits, base64url, chosen by the caller */
  readonly call: string;
  /** device: 128 bits, base64url, chosen by the device */
  readonly to: string;
  /** sealed payload, base64url; opaque to the hub */
  readonly payload: string;
}

/** A sealed payload from the other device in the call. */
export interface CallSignalled {
  readonly type: "call.signalled";
  /** call: 128 bits, base64url, chosen by the caller */
  readonly call: string;
  /** device: 128 bits, base64url, chosen by the device */
  readonly device: string;
  /** sealed payload, base64url; opaque to the hub */
  readonly payload: string;
}

/** Take a connected call over from another device of the account: `payload` is an offer, sealed for the other side's device. The first one wins: `answered_elsewhere` when `device` is not in the call any more, `unknown_device` when `to` is not (the other side moved too; `devices` names its device of now). */
export interface CallTakeOver {
  readonly type: "call.take_over";
  /** chosen by the sender of a request, repeated in its answer */
  readonly id: number;
  /** call: 128 bits, base64url, chosen by the caller */
  readonly call: string;
  /** device: 128 bits, base64url, chosen by the device */
  readonly device: string;
  /** device: 128 bits, base64url, chosen by the device */
  readonly to: string;
  /** sealed payload, base64url; opaque to the hub */
  readonly payload: string;
}

/** The other side goes on at `peer.device`: `payload` is that one's offer, sealed for this device. The answer goes to it by `call.signal`; then both report `call.connected` again. */
export interface CallTakenOver {
  readonly type: "call.taken_over";
  /** call: 128 bits, base64url, chosen by the caller */
  readonly call: string;
  readonly seq: number;
  readonly peer: Peer;
  /** sealed payload, base64url; opaque to the hub */
  readonly payload: string;
}

/** To both: media flows at both ends; the call is `connected`. */
export interface CallUp {
  readonly type: "call.up";
  /** call: 128 bits, base64url, chosen by the caller */
  readonly call: string;
  readonly seq: number;
}

/** One live call as one device may see it. */
export interface CallView {
  /** call: 128 bits, base64url, chosen by the caller */
  readonly call: string;
  readonly seq: number;
  readonly stage: Stage;
  readonly outgoing: boolean;
  readonly peer: Peer;
  readonly expires_in: number;
  readonly payloads?: readonly SealedFrom[];
}

/** One device's keys, signed by its issuer: the identity key (first link) or the signing key of the link before. */
export interface CertificateLink {
  /** device: 128 bits, base64url, chosen by the device */
  readonly device: string;
  /** 32 bytes, unpadded base64url (a public key) */
  readonly signing_key: string;
  /** 32 bytes, unpadded base64url (a public key) */
  readonly sealing_key: string;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly issued_at: number;
  /** 64 bytes, unpadded base64url (Ed25519) */
  readonly signature: string;
}

/** An explicit act: yes or no to the text that was shown. */
export interface ChangeConsent {
  readonly granted: boolean;
  readonly sha256: string;
}

/** Changes since the last upload (P08). `reset` empties the book first. */
export interface ChangeContacts {
  readonly add?: readonly Entry[];
  readonly remove?: readonly string[];
  readonly reset?: boolean;
}

/** Object, or take the objection back. */
export interface ChangeObjection {
  readonly objected: boolean;
}

/** Name and about text to change; what is left out stays, an empty text is removed. */
export interface ChangeProfile {
  readonly name?: string;
  readonly about?: string;
}

/** Freeze or unfreeze the account. */
export interface ChangeRestriction {
  readonly restricted: boolean;
  readonly proof: Proof;
}

/** Settings to change; what is left out stays. */
export interface ChangeSettings {
  readonly who_can_call?: WhoCanCall;
  readonly last_seen?: LastSeenRule;
  readonly online?: OnlineRule;
  readonly always_relay?: boolean;
  readonly business?: boolean;
}

/** Where a code is sent. */
export type Channel = "email" | "phone";

/** A new device typed or scanned the code: its keys, proven to the old device by a MAC under the code's secret part. */
export interface ClaimLink {
  /** first four characters of the code shown */
  readonly lookup: string;
  /** device: 128 bits, base64url, chosen by the device */
  readonly device: string;
  /** shown to the user's own devices */
  readonly device_name: string;
  /** 32 bytes, unpadded base64url (a public key) */
  readonly signing_key: string;
  /** 32 bytes, unpadded base64url (a public key) */
  readonly sealing_key: string;
  /** 32 bytes, unpadded base64url (HMAC-SHA-256) */
  readonly mac: string;
}

/** Bearer token with which the new device asks for the outcome. */
export interface ClaimedLink {
  /** 256 bits, unpadded base64url: an opaque bearer token */
  readonly token: string;
  readonly expires_in: number;
}

/** Where a purpose stands. Never asked is not granted. */
export interface Consent {
  readonly purpose: Purpose;
  readonly granted: boolean;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly at?: number;
  readonly policy_version?: string;
  readonly changed?: boolean;
}

/** Every purpose. */
export interface Consents {
  readonly consents: readonly Consent[];
}

/** A change under way. */
export interface ContactChange {
  readonly channel: Channel;
  readonly to: string;
  readonly expires_in: number;
  readonly resend_in: number;
}

/** An entry of the user's address book that is an account. */
export interface ContactMatch {
  /** 64 bytes, base64url: OPRF output (RFC 9497) */
  readonly token: string;
  /** account: 128 bits, base64url */
  readonly account: string;
}

/** Entries in the book after the change, and which of the added ones are accounts. */
export interface ContactsChange {
  readonly count: number;
  readonly matches: readonly ContactMatch[];
}

/** Entries of the address book became matches (someone joined, P08) or ceased to be (an account was deleted). */
export interface ContactsChanged {
  readonly type: "contacts.changed";
  readonly added?: readonly ContactMatch[];
  readonly removed?: readonly string[];
}

/** The live address book was lost: upload it again. */
export interface ContactsWanted {
  readonly type: "contacts.wanted";
}

/** The first device: its certificate is one link, signed by the account's identity key. */
export interface CreateAccount {
  readonly certificate: DeviceCertificate;
  /** shown to the user's own devices */
  readonly device_name: string;
}

/** One device of the user's own account. */
export interface Device {
  /** device: 128 bits, base64url, chosen by the device */
  readonly device: string;
  readonly name: string;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly created_at: number;
  readonly current: boolean;
  readonly online: boolean;
  readonly certificate: DeviceCertificate;
  readonly details?: DeviceDetails;
}

/** The identity key, and the links from it to the device; the last link is the device that the certificate is for. */
export interface DeviceCertificate {
  /** account: 128 bits, base64url */
  readonly account: string;
  /** 32 bytes, unpadded base64url (a public key) */
  readonly identity_key: string;
  readonly chain: readonly CertificateLink[];
}

/** What is kept of a device with the owner's consent: what it told, and roughly from where. */
export interface DeviceDetails {
  readonly info: DeviceInfo;
  readonly network: string;
  readonly country?: string;
  readonly region?: string;
}

/** What a device tells about itself, for its owner's list of devices (P18). Each is the client's choice. */
export interface DeviceInfo {
  readonly model?: string;
  readonly os?: string;
  readonly app_version?: string;
  readonly browser?: string;
  readonly operator?: string;
  readonly language?: string;
  readonly time_zone?: string;
  /** percent */
  readonly battery?: number;
  /** percent */
  readonly signal?: number;
}

/** A link was opened by an old device, which shows `lookup` and 12 secret characters of its own making as one code. */
export interface DeviceLink {
  /** device link: 128 bits, base64url */
  readonly link: string;
  /** first four characters of the code shown */
  readonly lookup: string;
  readonly expires_in: number;
}

/** Devices of the user's own account. */
export interface Devices {
  readonly devices: readonly Device[];
}

/** The devices or the identity key of an account changed (one's own, or a contact's): fetch them again. */
export interface DevicesChanged {
  readonly type: "devices.changed";
  /** account: 128 bits, base64url */
  readonly account: string;
}

/** The account that answers test calls: a greeting, then what it hears. Everyone may call it, without having it as a contact. */
export interface EchoAccount {
  /** account: 128 bits, base64url */
  readonly account: string;
  /** 32 bytes, unpadded base64url (a public key) */
  readonly identity_key: string;
  readonly online: boolean;
}

/** The process that answers test calls becomes the echo's one device. */
export interface EnrolEcho {
  readonly certificate: DeviceCertificate;
}

/** One address book entry: its discovery token, and name and number encrypted by the client. */
export interface Entry {
  /** 64 bytes, base64url: OPRF output (RFC 9497) */
  readonly token: string;
  readonly entry: string;
  /** account: 128 bits, base64url */
  readonly account?: string;
}

/** The request `re` was refused, and nothing was changed. Without `re`: a frame that could not be read. */
export interface Error {
  readonly type: "error";
  readonly code: ErrorCode;
  readonly message: string;
  /** chosen by the sender of a request, repeated in its answer */
  readonly re?: number;
  readonly retry_after?: number;
  readonly devices?: readonly string[];
}

/** What every refused REST request gets, with the status of the code. */
export interface ErrorBody {
  readonly code: ErrorCode;
  readonly message: string;
  readonly retry_after?: number;
  readonly tries_left?: number;
  readonly devices?: readonly string[];
}

/** What went wrong, as sent in `error.code`. */
export type ErrorCode = "address_book_full" | "answered_elsewhere" | "blocked" | "budget_spent" | "call_exists" | "call_to_self" | "callee_unavailable" | "certificate_invalid" | "code_expired" | "code_spent" | "code_wrong" | "consent_required" | "csrf_token_wrong" | "delivery_failed" | "device_exists" | "email_disposable" | "email_invalid" | "email_missing" | "email_taken" | "enrolment_invalid" | "forbidden" | "forbidden_origin" | "internal" | "invalid" | "link_state" | "malformed" | "method_not_allowed" | "no_change_pending" | "no_relay" | "no_relay_free" | "not_a_contact" | "not_found" | "not_possible" | "not_verified" | "passkey_invalid" | "password_weak" | "phone_invalid" | "phone_missing" | "phone_taken" | "picture_invalid" | "policy_not_acknowledged" | "proof_invalid" | "rate_limited" | "restricted" | "sign_in_failed" | "stale_devices" | "too_large" | "too_many_calls" | "too_many_devices" | "too_many_orders" | "too_many_tickets" | "trial_used" | "unauthenticated" | "unavailable" | "unknown_call" | "unknown_device" | "unknown_type" | "wrong_stage";

/** Blinded elements (RFC 9497, section 3.3.1) for the key-holder. */
export interface Evaluate {
  readonly blinded: readonly string[];
}

/** Evaluated elements, in the same order, and what is left of the account's budget. */
export interface Evaluated {
  readonly evaluated: readonly string[];
  readonly remaining: number;
}

/** How a call was heard at a device within the last seconds. */
export interface HeardNow {
  readonly loss: number;
  readonly jitter: number;
  readonly rtt?: number;
}

/** The first frame: who is connecting. Answered by `ok` and `sync`; else `error` and close 4401. */
export interface Hello {
  readonly type: "hello";
  /** chosen by the sender of a request, repeated in its answer */
  readonly id: number;
  /** 256 bits, unpadded base64url: an opaque bearer token */
  readonly token: string;
}

/** As W3C WebRTC's `RTCIceServer`. */
export interface IceServer {
  readonly urls: readonly string[];
  readonly username?: string;
  readonly credential?: string;
}

/** The ladder for this device, and for how long its credentials hold. */
export interface IceServers {
  readonly ice_servers: readonly IceServer[];
  readonly expires_in: number;
  readonly relay: boolean;
}

/** What is done without consent, in the service's legitimate interest, and may be objected to (P23). */
export type Interest = "announcements" | "statistics";

/** The ICE credentials of the device's generation (RFC 8839, section 5.4). Others than before restart ICE on the device's leg. An answerer has none before it has set a remote description, and that needs the leg: it asks without them first, and once more with them when it has its answer. The leg is the same. */
export interface JoinRelay {
  /** ice-ufrag (RFC 8839, section 5.4) */
  readonly ufrag?: string;
  /** ice-pwd (RFC 8839, section 5.4) */
  readonly pwd?: string;
}

/** What is kept of how well a call worked, with the consent `quality`. */
export interface KeptQuality {
  readonly mos?: number;
  readonly measured?: MeasuredQuality;
  readonly relayed?: RelayQuality;
}

/** Who sees last seen. `excepted` counts with `contacts_except`; it is kept when another choice is made, until it is replaced. */
export interface LastSeenRule {
  readonly to: LastSeenTo;
  readonly excepted?: readonly string[];
}

/** Who sees when this account was last connected (P16). `contacts`: the people in *its* address book. */
export type LastSeenTo = "contacts" | "contacts_except" | "everyone" | "nobody";

/** A new device typed or scanned the code that this device shows. */
export interface LinkClaimed {
  readonly type: "link.claimed";
  /** device link: 128 bits, base64url */
  readonly link: string;
}

/** For the new device: where the link stands, and once approved its session. */
export interface LinkOutcome {
  readonly state: LinkState;
  readonly expires_in: number;
  readonly approval?: ApproveLink;
  readonly session?: SignedIn;
}

/** Where a link stands. */
export type LinkState = "approved" | "claimed" | "refused" | "waiting";

/** For the old device: where the link stands, and what the new device claimed. */
export interface LinkStatus {
  /** device link: 128 bits, base64url */
  readonly link: string;
  readonly state: LinkState;
  readonly expires_in: number;
  readonly claim?: ClaimLink;
}

/** How well a call worked at a device. No content, and no address. */
export interface MeasuredQuality {
  readonly received: MeasuredWay;
  readonly sent?: MeasuredWay;
  readonly rtt?: number;
  readonly rung?: Rung;
  readonly client?: string;
}

/** One direction of a call, as a device counted it over the whole call (W3C webrtc-stats). */
export interface MeasuredWay {
  readonly packets: number;
  readonly lost: number;
  readonly jitter: number;
}

/** Where an interest stands. */
export interface Objection {
  readonly interest: Interest;
  readonly text: string;
  readonly objected: boolean;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly at?: number;
}

/** Every interest. */
export interface Objections {
  readonly objections: readonly Objection[];
}

/** The request `re` was done. */
export interface Ok {
  readonly type: "ok";
  /** chosen by the sender of a request, repeated in its answer */
  readonly re: number;
  readonly stage?: Stage;
  readonly leg?: RelayLeg;
}

/** Who sees online, as `LastSeenRule`. */
export interface OnlineRule {
  readonly to: OnlineTo;
  readonly excepted?: readonly string[];
}

/** Who sees whether this account is connected now (P16). */
export type OnlineTo = "contacts" | "contacts_except" | "everyone" | "nobody" | "same_as_last_seen";

/** A question or a complaint. */
export interface OpenTicket {
  readonly subject: string;
  readonly text: string;
  readonly attachments?: readonly Attachment[];
}

/** An order: what the purchase needs, and no more. */
export interface Order {
  /** order: 128 bits, base64url */
  readonly order: string;
  readonly product: string;
  readonly amount: number;
  readonly currency: string;
  readonly state: OrderState;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly ordered_at: number;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly paid_at?: number;
  readonly checkout_url?: string;
}

/** Where an order stands. */
export type OrderState = "failed" | "paid" | "pending";

/** The account's orders, newest first. */
export interface Orders {
  readonly orders: readonly Order[];
}

/** The other side of a call, as far as the hub may show it to this device. */
export interface Peer {
  /** account: 128 bits, base64url */
  readonly account: string;
  /** device: 128 bits, base64url, chosen by the device */
  readonly device?: string;
  /** phone number, E.164 */
  readonly phone?: string;
  readonly certificate?: DeviceCertificate;
  readonly business?: boolean;
}

/** A profile picture. */
export interface Picture {
  /** base64url */
  readonly image: string;
  readonly media_type: string;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly changed_at: number;
}

/** Are you there? Answered by `ok`. For clients that cannot see WebSocket pings (browsers) and doubt their connection. */
export interface Ping {
  readonly type: "ping";
  /** chosen by the sender of a request, repeated in its answer */
  readonly id: number;
}

/** What is to be bought. */
export interface PlaceOrder {
  readonly product: string;
}

/** The account's plan. Calls are free in every plan. */
export interface Plan {
  readonly plan: PlanKind;
  readonly trial_days: number;
  readonly products: readonly PlanProduct[];
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly until?: number;
}

/** What plan an account has. */
export type PlanKind = "free" | "purchased" | "trial";

/** What can be bought. `amount` in the currency's smallest unit (ISO 4217). */
export interface PlanProduct {
  readonly product: string;
  readonly days: number;
  readonly amount: number;
  readonly currency: string;
}

/** The privacy policy in force (P04). */
export interface Policy {
  readonly version: string;
  readonly text: string;
  readonly language?: string;
}

/** What the asking account may see of another. What is absent is hidden, or not known: the two look alike. */
export interface Presence {
  /** account: 128 bits, base64url */
  readonly account: string;
  readonly online?: boolean;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly last_seen?: number;
}

/** Watched accounts as they may be seen now, each in place of what was told of it before. */
export interface PresenceChanged {
  readonly type: "presence.changed";
  readonly presences: readonly Presence[];
}

/** Watch these accounts from now on, and no others (P16). Answered by `ok` and then `presence.changed` with all of them. */
export interface PresenceWatch {
  readonly type: "presence.watch";
  /** chosen by the sender of a request, repeated in its answer */
  readonly id: number;
  readonly accounts: readonly string[];
}

/** What contacts see of each other. What is absent was not given, or may not be seen. */
export interface Profile {
  /** account: 128 bits, base64url */
  readonly account: string;
  readonly business?: boolean;
  readonly name?: string;
  readonly about?: string;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly about_changed_at?: number;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly picture_changed_at?: number;
}

/** A contact's name, about text or picture changed: fetch the profile again. The own account's id: profile or settings changed. */
export interface ProfileChanged {
  readonly type: "profile.changed";
  /** account: 128 bits, base64url */
  readonly account: string;
}

/** Profiles in the order they were asked for. */
export interface Profiles {
  readonly profiles: readonly Profile[];
}

/** That the device itself asks, not who found its token: a signature of its signing key (`signaling/privacy/proof.py`). */
export interface Proof {
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly at: number;
  /** 64 bytes, unpadded base64url (Ed25519) */
  readonly signature: string;
}

/** Purposes that need a consent of their own (P21). */
export type Purpose = "device_details" | "phonebook" | "quality";

/** What the user is asked, word for word. */
export interface PurposeText {
  readonly purpose: Purpose;
  readonly text: string;
  readonly sha256: string;
  readonly language: string;
}

/** Ways to wake a device that has no socket. */
export type PushKind = "apns" | "fcm" | "web";

/** How this server wakes devices, and this one. */
export interface PushState {
  readonly kinds: readonly PushKind[];
  readonly vapid_key?: string;
  readonly subscribed?: PushKind;
}

/** Why a call ended. A call ends once, with one reason, and both sides learn the same one. */
export type Reason = "answered_elsewhere" | "busy" | "cancelled" | "declined" | "failed" | "hangup" | "lost" | "missed" | "moved" | "unavailable";

/** State of a registration. The same whether or not the number or the address has an account already. */
export interface Registration {
  /** 256 bits, unpadded base64url: an opaque bearer token */
  readonly token: string;
  /** phone number, E.164 */
  readonly phone: string;
  readonly email: string;
  readonly phone_verified: boolean;
  readonly email_verified: boolean;
  readonly expires_in: number;
  readonly resend_in: { readonly [key: string]: number };
  /** account: 128 bits, base64url */
  readonly account?: string;
}

/** The device's leg of the call's relay, for the remote description in the place of the peer's ICE lines. */
export interface RelayLeg {
  /** ice-ufrag (RFC 8839, section 5.4) */
  readonly ufrag: string;
  /** ice-pwd (RFC 8839, section 5.4) */
  readonly pwd: string;
  readonly candidates: readonly string[];
  readonly expires_in: number;
}

/** Both ways of a relayed call, as the asking device has them. */
export interface RelayQuality {
  readonly sent: RelayWay;
  readonly received: RelayWay;
}

/** How the packets of one device arrive at the relay, from their clear headers. */
export interface RelayWay {
  readonly packets: number;
  readonly expected: number;
  readonly lost: number;
  readonly jitter: number;
  readonly rtt?: number;
  readonly mos?: number;
}

/** Which rung of the ladder a device's media take, as coarse as running the service needs: whether two people share a network, or what their addresses are, is not told. */
export type Rung = "direct" | "relay" | "turn_peer" | "turn_tcp" | "turn_tls" | "turn_udp";

/** A sealed payload and the device that sealed it. */
export interface SealedFrom {
  /** device: 128 bits, base64url, chosen by the device */
  readonly device: string;
  /** sealed payload, base64url; opaque to the hub */
  readonly payload: string;
}

/** Ask for a new code; the one before ceases to work. */
export interface SendCode {
  readonly channel: Channel;
}

/** What a client needs to know before anything else. */
export interface ServerInfo {
  readonly name: string;
  readonly version: string;
  readonly protocol: string;
  readonly policy_version: string;
  readonly purposes: readonly PurposeText[];
}

/** A JPEG, PNG, WebP or GIF picture. It is decoded and drawn anew, 512 pixels square: nothing else of the file is kept. */
export interface SetPicture {
  /** base64url */
  readonly image: string;
}

/** Where this device is woken for a call. A push says "wake up" and nothing else. */
export interface SetPush {
  readonly kind: PushKind;
  readonly endpoint: string;
  readonly p256dh?: string;
  readonly auth?: string;
}

/** Sign out everywhere: every device of the account is removed, with its session. */
export interface SignOut {
  readonly keep_current?: boolean;
}

/** A session. The token is shown once; the hub keeps a hash of it. */
export interface SignedIn {
  /** account: 128 bits, base64url */
  readonly account: string;
  /** device: 128 bits, base64url, chosen by the device */
  readonly device: string;
  /** 256 bits, unpadded base64url: an opaque bearer token */
  readonly token: string;
}

/** Stages of a call (design: the call machine). */
export type Stage = "connected" | "connecting" | "ended" | "inviting" | "ringing";

/** A new number or address. A code is sent to it, and one to the other, which stays: both are needed (P03). */
export interface StartChange {
  readonly channel: Channel;
  readonly to: string;
}

/** Phone and e-mail, both required; the policy version that the user acknowledged. */
export interface StartRegistration {
  readonly phone?: string;
  readonly email?: string;
  readonly policy_version?: string;
}

/** The truth, sent after every `hello`: what is live now for this device. */
export interface Sync {
  readonly type: "sync";
  /** account: 128 bits, base64url */
  readonly account: string;
  /** device: 128 bits, base64url, chosen by the device */
  readonly device: string;
  readonly calls: readonly CallView[];
  readonly contacts_wanted: boolean;
  readonly elsewhere?: readonly CallElsewhere[];
  readonly policy_wanted?: boolean;
}

/** A ticket; `messages` when it is asked for by its id. */
export interface Ticket {
  /** support ticket: 128 bits, base64url */
  readonly ticket: string;
  readonly subject: string;
  readonly state: TicketState;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly opened_at: number;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly changed_at: number;
  readonly messages?: readonly TicketMessage[];
  readonly unread?: boolean;
}

/** Support answered or closed one of the account's tickets, or it was read on another device: fetch the tickets again (P27). */
export interface TicketChanged {
  readonly type: "ticket.changed";
  readonly ticket: string;
}

/** What the user or the service said. */
export interface TicketMessage {
  readonly from_operator: boolean;
  readonly text: string;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly at: number;
  readonly attachments: readonly AttachmentInfo[];
}

/** Whose turn it is. */
export type TicketState = "answered" | "closed" | "open";

/** The user's tickets, newest first. */
export interface Tickets {
  readonly tickets: readonly Ticket[];
}

/** Both codes: of the new number or address, and of the other one, which stays. */
export interface VerifyChange {
  readonly channel: Channel;
  readonly code: string;
  readonly confirmation: string;
}

/** A code as the user typed it. */
export interface VerifyCode {
  readonly channel: Channel;
  readonly code: string;
}

/** Whose calls reach this account. */
export type WhoCanCall = "contacts" | "everyone" | "nobody";

/** Everything that a client may send. */
export type ClientMessage = CallAccept | CallBusy | CallConnected | CallDecline | CallFailed | CallHangup | CallInvite | CallMoved | CallRelay | CallRinging | CallSignal | CallTakeOver | Hello | Ping | PresenceWatch;

/** Everything that the hub may send. */
export type ServerMessage = CallAnswered | CallElsewhereOver | CallEnded | CallIncoming | CallIsElsewhere | CallRelayEnding | CallRings | CallSignalled | CallTakenOver | CallUp | ContactsChanged | ContactsWanted | DevicesChanged | Error | LinkClaimed | Ok | PresenceChanged | ProfileChanged | Sync | TicketChanged;
