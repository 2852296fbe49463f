// Generated from docs/admin-openapi.json by scripts/generate-types.mjs. Do not edit.

/** What operators see of an account: not who it is. */
export interface AccountInfo {
  /** an account, under a name that only this service can undo */
  readonly account: string;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly created_at: number;
  readonly country: string;
  readonly devices: number;
  readonly business?: boolean;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly restricted_at?: number;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly blocked_at?: number;
  readonly blocked_for?: BlockedFor;
}

/** A new operator. */
export interface AddOperator {
  /** an operator's name */
  readonly operator: string;
  readonly role: Role;
}

/** A new passkey as the browser made it. */
export interface AddPasskey {
  /** so that it is known again */
  readonly name: string;
  readonly credential: object;
}

/** A token for a program. It may do what its scopes say and its owner may, whichever is less. */
export interface AddToken {
  /** so that it is known again */
  readonly name: string;
  readonly scopes: readonly Permission[];
  readonly days?: number;
}

/** What is new. */
export interface Announce {
  readonly title: string;
  readonly text: string;
}

/** News about the service. */
export interface Announcement {
  readonly announcement: string;
  readonly title: string;
  readonly text: string;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly at: number;
}

/** What the user reads, as the service's. */
export interface AnswerTicket {
  readonly text: string;
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

/** One line of the audit trail. */
export interface AuditEntry {
  readonly seq: number;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly at: number;
  readonly operator: string;
  readonly action: string;
  readonly subject?: string;
  readonly reason?: string;
  readonly via?: string;
}

/** Entries, newest first. */
export interface AuditPage {
  readonly entries: readonly AuditEntry[];
  readonly next?: number;
}

/** Whether the trail is what was written. */
export interface AuditVerification {
  readonly entries: number;
  readonly whole: boolean;
  readonly head: string;
  readonly broken_at?: number;
}

/** `blocked_for` is told to the user; `reason` is for the audit trail. */
export interface BlockAccount {
  readonly blocked_for: BlockedFor;
  /** why; it is kept on the audit trail, so it names nobody */
  readonly reason: string;
}

/** Accounts that are blocked, the last one first. */
export interface BlockedAccounts {
  readonly accounts: readonly AccountInfo[];
  readonly next?: string;
}

/** What an account is blocked for, as its user is told. */
export type BlockedFor = "abuse" | "fraud" | "legal" | "security" | "spam" | "terms";

/** A call with its time line. `quality` is what relays see of calls that they carry, and what the devices of users tell who allow it. */
export interface CallDetail {
  readonly call: CallSummary;
  readonly timeline: readonly TimelineEntry[];
  readonly quality: readonly QualityPoint[];
}

/** How calls went that ended within the last hours. */
export interface CallFigures {
  readonly hours: number;
  readonly calls: number;
  readonly connected: number;
  readonly not_connected: number;
  readonly reasons: { readonly [key: string]: number };
  readonly rungs: { readonly [key: string]: number };
  readonly spans: readonly Span[];
  readonly countries: readonly Country[];
  readonly success?: number;
  readonly set_up_p50?: number;
  readonly set_up_p95?: number;
}

/** A call, live or ended, without what it was about. */
export interface CallSummary {
  /** call: 128 bits, base64url, chosen by the caller */
  readonly call: string;
  readonly stage: Stage;
  /** an account, under a name that only this service can undo */
  readonly caller: string;
  /** an account, under a name that only this service can undo */
  readonly callee: string;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly started_at: number;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly connected_at?: number;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly ended_at?: number;
  readonly reason?: Reason;
  readonly set_up?: number;
  readonly rung?: Rung;
  readonly caller_hub?: string;
  readonly callee_hub?: string;
  readonly relay?: string;
  readonly heard?: readonly number[];
}

/** What changes; what is left out stays. */
export interface ChangeOperator {
  readonly role?: Role;
  readonly disabled?: boolean;
}

/** A new password; every other session of the operator ends. */
export interface ChangePassword {
  /** a password */
  readonly password: string;
  /** 6 digits of an authenticator app (RFC 6238) */
  readonly code: string;
  /** a password */
  readonly new_password: string;
}

/** Where a code is sent. */
export type Channel = "email" | "phone";

/** Calls by the country of the caller's number; countries behind which fewer than 20 people stand are put together. */
export interface Country {
  readonly code: string;
  readonly region: string;
  readonly connected: number;
  readonly not_connected: number;
}

/** What is announced now, newest first. */
export interface CurrentAnnouncements {
  readonly announcements: readonly Announcement[];
}

/** Calls that ended, newest first. */
export interface EndedCalls {
  readonly calls: readonly CallSummary[];
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly next?: number;
}

/** Begin an enrolment. */
export interface Enrol {
  /** an operator's name */
  readonly operator: string;
  /** 256 bits, hex: what an invited operator was given */
  readonly code: string;
}

/** The second factor of an operator who enrols; another each time it is asked for. */
export interface Enrolment {
  readonly operator: string;
  readonly role: Role;
  readonly totp_secret: string;
  readonly totp_uri: string;
  readonly totp_qr: string;
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

/** The password of the operator's choice, and proof that the authenticator has the secret. */
export interface FinishEnrolment {
  /** an operator's name */
  readonly operator: string;
  /** 256 bits, hex: what an invited operator was given */
  readonly code: string;
  /** a password */
  readonly password: string;
  /** 6 digits of an authenticator app (RFC 6238) */
  readonly totp_code: string;
}

/** One hub, as of a few seconds ago. */
export interface HubInfo {
  readonly hub: string;
  readonly this?: boolean;
  readonly name?: string;
  readonly version?: string;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly started_at?: number;
  readonly devices?: number;
  readonly calls?: { readonly [key: string]: number };
  readonly cpu?: number;
  readonly lag?: number;
  readonly memory?: number;
  readonly draining?: boolean;
}

/** Shown once: the operator enrols with it, at `/operator/#enrol`. */
export interface Invitation {
  readonly operator: string;
  readonly code: string;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly expires_at: number;
}

/** What a line of a call's time line says. */
export type Line = "back" | "connected" | "dip" | "ended" | "handed" | "invited" | "left" | "media" | "moved" | "rang" | "recovered" | "relay" | "taken";

/** Calls that go on. */
export interface LiveCalls {
  readonly total: number;
  readonly calls: readonly CallSummary[];
}

/** Both factors at once: a wrong answer does not say which of them was wrong. */
export interface Login {
  readonly operator: string;
  /** a password */
  readonly password: string;
  /** 6 digits of an authenticator app (RFC 6238) */
  readonly code: string;
}

/** Of whom; one of the two. */
export interface LookUp {
  /** a number, with its country code */
  readonly phone?: string;
  /** an address */
  readonly email?: string;
}

/** The operator's own account. */
export interface Me {
  readonly signed_in: SignedInOperator;
  readonly passkeys: readonly Passkey[];
  readonly has_password: boolean;
}

/** Who measured. */
export type MeasuredAt = "device" | "relay";

/** Shown once; a hash of it is kept. Sent as `Authorization: Bearer …`. */
export interface NewToken {
  readonly token: string;
  readonly info: TokenInfo;
}

/** A written request, of the person with this number or address; one of the two. */
export interface OpenRequest {
  readonly kind: RequestKind;
  /** a number, with its country code */
  readonly phone?: string;
  /** an address */
  readonly email?: string;
}

/** An operator, for who looks after operators. */
export interface OperatorInfo {
  readonly operator: string;
  readonly role: Role;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly created_at: number;
  readonly enrolled: boolean;
  readonly single_sign_on?: boolean;
  readonly passkeys?: number;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly disabled_at?: number;
}

/** Operators by name. */
export interface OperatorList {
  readonly operators: readonly OperatorInfo[];
}

/** A session of an operator. */
export interface OperatorSession {
  readonly session: string;
  readonly operator: string;
  readonly method: string;
  readonly agent: string;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly created_at: number;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly seen_at: number;
  readonly current: boolean;
}

/** Sessions, newest first. */
export interface OperatorSessions {
  readonly sessions: readonly OperatorSession[];
}

/** A ticket with what was said in it. */
export interface OperatorTicket {
  readonly ticket: string;
  /** an account, under a name that only this service can undo */
  readonly account: string;
  readonly state: TicketState;
  readonly subject: string;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly opened_at: number;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly changed_at: number;
  readonly messages: readonly TicketMessage[];
}

/** How the service does now. */
export interface Overview {
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly at: number;
  readonly devices: number;
  readonly stages: { readonly [key: string]: number };
  readonly hubs: readonly HubInfo[];
  readonly relays: readonly RelayInfo[];
}

/** What may be given to partners (P25). */
export interface PartnerCounts {
  readonly accounts_by_country: { readonly [key: string]: number };
}

/** A passkey of the operator. */
export interface Passkey {
  readonly passkey: string;
  readonly name: string;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly created_at: number;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly used_at?: number;
}

/** What the browser's credential gives as JSON (`PublicKeyCredential.toJSON`). */
export interface PasskeyAnswer {
  readonly credential: object;
}

/** For `navigator.credentials`, as JSON (WebAuthn Level 3, `parseCreationOptionsFromJSON` and `parseRequestOptionsFromJSON`). */
export interface PasskeyOptions {
  readonly options: object;
}

/** What somebody may do. A machine's token has some of them as its scopes. */
export type Permission = "accounts.block" | "accounts.look_up" | "accounts.read" | "accounts.reveal" | "aggregates" | "announcements" | "audit.read" | "calls.end" | "hubs.drain" | "operations.read" | "operators" | "requests" | "tickets" | "tokens";

/** The operator's password once more: a session that was left open adds no passkey. */
export interface ProvePassword {
  /** a password */
  readonly password: string;
}

/** How what one side sent arrived, over some seconds. */
export interface QualityPoint {
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly at: number;
  readonly side: number;
  readonly loss: number;
  readonly jitter: number;
  readonly rtt?: number;
  readonly mos?: number;
  readonly by?: MeasuredAt;
}

/** Why a call ended. A call ends once, with one reason, and both sides learn the same one. */
export type Reason = "answered_elsewhere" | "busy" | "cancelled" | "declined" | "failed" | "hangup" | "lost" | "missed" | "moved" | "unavailable";

/** Why an operator does something. */
export interface Reasoned {
  /** why; it is kept on the audit trail, so it names nobody */
  readonly reason: string;
}

/** One relay, as of a few seconds ago. */
export interface RelayInfo {
  readonly relay: string;
  readonly calls: number;
  readonly capacity: number;
  readonly name?: string;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly started_at?: number;
  readonly legs?: number;
  readonly packets?: number;
  readonly dropped?: number;
  readonly cpu?: number;
  readonly lag?: number;
}

/** How a person was identified when not by a code. What was seen is not stored. */
export type RequestDocument = "court_order" | "identity_document" | "in_person";

/** What is asked for (GDPR, articles 15 to 18). */
export type RequestKind = "access" | "erasure" | "release" | "restriction";

/** Why the operator must know who it is. */
export interface Reveal {
  /** why; it is kept on the audit trail, so it names nobody */
  readonly reason: string;
}

/** Who an account is. */
export interface RevealedAccount {
  /** account: 128 bits, base64url */
  readonly account: string;
  /** phone number, E.164 */
  readonly phone: string;
  readonly email: string;
  readonly name?: string;
}

/** What an operator is there for. */
export type Role = "admin" | "support" | "viewer";

/** Which rung of the ladder a device's media take, as coarse as running the service needs: whether two people share a network, or what their addresses are, is not told. */
export type Rung = "direct" | "relay" | "turn_peer" | "turn_tcp" | "turn_tls" | "turn_udp";

/** Where the code goes: to what the account has, not to what the letter says. */
export interface SendRequestCode {
  readonly channel: Channel;
}

/** Ways to sign in here. */
export interface SignInWays {
  readonly server_name: string;
  readonly single_sign_on?: string;
}

/** Who is signed in. The session itself is in a cookie that scripts cannot read. */
export interface SignedInOperator {
  readonly operator: string;
  readonly role: Role;
  readonly permissions: readonly Permission[];
  readonly csrf: string;
  readonly method: string;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly expires_at: number;
}

/** Calls that ended within some minutes. */
export interface Span {
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly at: number;
  readonly calls?: number;
  readonly connected?: number;
  readonly not_connected?: number;
  readonly set_up_p95?: number;
}

/** Stages of a call (design: the call machine). */
export type Stage = "connected" | "connecting" | "ended" | "inviting" | "ringing";

/** A ticket in the queue. */
export interface TicketLine {
  readonly ticket: string;
  /** an account, under a name that only this service can undo */
  readonly account: string;
  readonly state: TicketState;
  readonly subject: string;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly changed_at: number;
}

/** What the user or the service said. */
export interface TicketMessage {
  readonly from_operator: boolean;
  readonly text: string;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly at: number;
  readonly attachments: readonly AttachmentInfo[];
}

/** Tickets that are not closed, the one that waits longest first. */
export interface TicketQueue {
  readonly tickets: readonly TicketLine[];
}

/** Whose turn it is. */
export type TicketState = "answered" | "closed" | "open";

/** One line. */
export interface TimelineEntry {
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly at: number;
  readonly what: Line;
  readonly side?: number;
  readonly rung?: Rung;
  readonly relay?: string;
  readonly mos?: number;
}

/** A token, without what it is. */
export interface TokenInfo {
  readonly id: string;
  readonly name: string;
  readonly operator: string;
  readonly scopes: readonly Permission[];
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly created_at: number;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly expires_at: number;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly used_at?: number;
}

/** Tokens that hold, newest first. */
export interface TokenList {
  readonly tokens: readonly TokenInfo[];
}

/** Why it is over. */
export interface UnblockAccount {
  /** why; it is kept on the audit trail, so it names nobody */
  readonly reason: string;
}

/** The code that the person told, or what was seen instead; one of the two. */
export interface VerifyRequest {
  readonly code?: string;
  readonly document?: RequestDocument;
}

/** A request as operators see it: never the person's data. */
export interface WrittenRequest {
  readonly id: string;
  readonly kind: RequestKind;
  readonly state: string;
  readonly opened_by: string;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly opened_at: number;
  readonly verified_by?: string;
  readonly evidence?: string;
  readonly confirmed_by?: string;
  /** milliseconds since 1970-01-01T00:00:00Z */
  readonly closed_at?: number;
}

/** Requests, newest first. */
export interface WrittenRequests {
  readonly requests: readonly WrittenRequest[];
}
