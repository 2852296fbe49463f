/** What goes wrong, as codes that a program acts on and sentences that a person reads. */
import type { ErrorCode } from "./wire.js";

/** Failures that happen in the client. */
export type LocalErrorCode =
  | "network" | "timeout" | "wrong_phase" | "no_microphone" | "microphone_denied" | "identity_changed" | "not_secure" | "link_code_invalid"
  | "push_denied" | "push_unavailable" | "link_not_genuine" | "no_devices" | "busy" | "no_call" | "unsupported" | "missing_book_key";

/** Every method of the SDK rejects with this. */
export class KloudTalkError extends Error {
  readonly code: ErrorCode | LocalErrorCode;
  /** Seconds until trying again can succeed. */
  readonly retryAfter: number | null;
  /** Tries left for a verification code. */
  readonly triesLeft: number | null;
  /** The callee's devices (`unknown_device`, `stale_devices`). */
  readonly devices: readonly string[] | null;

  constructor(code: ErrorCode | LocalErrorCode, details: { retryAfter?: number | undefined; triesLeft?: number | undefined; devices?: readonly string[] | undefined; message?: string } = {}) {
    super(details.message ?? explain(code));
    this.name = "KloudTalkError";
    this.code = code;
    this.retryAfter = details.retryAfter ?? null;
    this.triesLeft = details.triesLeft ?? null;
    this.devices = details.devices ?? null;
  }
}

/** What a person reads, in English; a page in another language translates these. */
export const SENTENCES: Readonly<Record<ErrorCode | LocalErrorCode, string>> = {
  malformed: "The server could not read what this page sent. Please reload the page.",
  unknown_type: "The server does not know this request. Please reload the page to get its newest version.",
  invalid: "Something in this request is not valid.",
  too_large: "This is more than the server takes at once.",
  not_found: "This does not exist any more.",
  method_not_allowed: "The server does not know this request. Please reload the page to get its newest version.",
  unauthenticated: "This device is not signed in any more.",
  forbidden_origin: "This page may not use this server.",
  rate_limited: "That was too often in a short time.",
  unavailable: "The server cannot do this right now. Nothing was changed.",
  internal: "The server made a mistake. It is not your fault; please try again.",
  policy_not_acknowledged: "Please read and acknowledge the privacy policy first.",
  phone_missing: "Please enter your phone number.",
  phone_invalid: "This is not a phone number that can exist. Please check it, and its country.",
  email_missing: "Please enter your e-mail address.",
  email_invalid: "This is not a valid e-mail address.",
  email_disposable: "Addresses of throw-away mail services cannot be used.",
  phone_taken: "This number has an account with another e-mail address.",
  email_taken: "This address belongs to an account with another number.",
  code_wrong: "This code is not the one that was sent.",
  code_expired: "This code is older than ten minutes. Please ask for a new one.",
  code_spent: "Too many wrong tries. Please ask for a new code.",
  not_verified: "Please enter both codes first.",
  delivery_failed: "The code could not be sent. Please try again.",
  no_change_pending: "This took too long. Please begin again.",
  picture_invalid: "This is not a picture that can be used. Please choose a JPEG, PNG or WebP.",
  certificate_invalid: "The server does not accept this device's keys.",
  device_exists: "This device is registered already.",
  too_many_devices: "This account has as many devices as it may have. Please remove one first.",
  link_state: "This code was used, refused or has expired. Please make a new one.",
  proof_invalid: "The server could not verify that this device asks. Please check that its clock is right.",
  restricted: "Your account is frozen. Unfreeze it in the settings to use it.",
  blocked: "Your account is blocked by who runs this server.",
  forbidden: "Your role does not allow this.",
  not_possible: "This cannot be done as things stand.",
  sign_in_failed: "This does not belong together, or you may not sign in.",
  csrf_token_wrong: "Please sign in again.",
  enrolment_invalid: "This invitation is unknown, used or expired. Please ask for a new one.",
  password_weak: "This password is too easy to guess.",
  passkey_invalid: "The passkey could not be verified. Please try again.",
  too_many_tickets: "You have many open questions. Please close or delete one first.",
  trial_used: "You have had the free trial already.",
  too_many_orders: "You have unpaid orders. Please pay one, or wait until they expire.",
  consent_required: "This needs your permission first.",
  budget_spent: "You have looked up as many numbers as is allowed for now.",
  address_book_full: "Your address book here is full.",
  call_to_self: "You cannot call yourself.",
  not_a_contact: "You can call people whose number is in your address book.",
  callee_unavailable: "This person cannot be reached any more.",
  unknown_device: "A device of this person changed. Please call again.",
  stale_devices: "The devices of this person changed. Please call again.",
  call_exists: "This call exists already.",
  unknown_call: "This call is over.",
  wrong_stage: "This cannot be done at this moment of the call.",
  answered_elsewhere: "The call was answered on another device.",
  too_many_calls: "This device is in a call already.",
  no_relay: "The server has no relay for calls that nothing else gets through.",
  no_relay_free: "The server's relays carry as many calls as they can.",
  network: "The server cannot be reached. Please check your connection.",
  timeout: "The server did not answer in time. Please try again.",
  wrong_phase: "This cannot be done right now.",
  no_microphone: "No microphone was found.",
  microphone_denied: "The microphone may not be used. Please allow it in your browser for this page.",
  identity_changed: "This person's keys have changed. Please check that it is really them before you talk.",
  not_secure: "The call was stopped because it could not be made secure.",
  link_code_invalid: "This is not a code. It has 16 letters and digits.",
  link_not_genuine: "The device that answered does not know the code. Do not add it; make a new code.",
  push_denied: "Your browser was not allowed to show notifications. You can change that in its settings for this page.",
  push_unavailable: "Your browser cannot be woken for calls: its push service does not answer, or this server does not use it.",
  no_devices: "This person has no device at the moment.",
  busy: "You are in a call already.",
  no_call: "There is no call.",
  unsupported: "This browser cannot place encrypted calls. Please use a newer one.",
  missing_book_key: "This device does not have the key of your address book. Please import your contacts again.",
};

/** A plain English sentence for an error code. */
export function explain(code: ErrorCode | LocalErrorCode): string {
  return SENTENCES[code] ?? "Something went wrong. Please try again.";
}
