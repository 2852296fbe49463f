/** How things are said. */
import { ApiError } from "./api";
import type { BlockedFor, Line, Reason, Role, Rung, Stage, TimelineEntry } from "./wire";

export const STAGES: Record<Stage, string> = { inviting: "Calling", ringing: "Ringing", connecting: "Connecting", connected: "Connected", ended: "Ended" };

export const REASONS: Record<Reason, string> = {
  hangup: "Hung up", declined: "Declined", busy: "Busy", missed: "Missed", cancelled: "Cancelled", answered_elsewhere: "Answered elsewhere",
  failed: "Media failed", lost: "Connection lost", unavailable: "Ended by operator", moved: "Moved to another device",
};

/** Reasons that say something about the service, not about people. */
export const BAD: ReadonlySet<string> = new Set(["failed", "lost", "unavailable"]);

export const RUNGS: Record<Rung | "unknown", string> = {
  direct: "Direct", turn_peer: "TURN of the other side", turn_udp: "TURN over UDP", turn_tcp: "TURN over TCP", turn_tls: "TURN over TLS", relay: "Relay",
  unknown: "Not told",
};

export const ROLES: Record<Role, string> = { viewer: "Viewer: sees how the service does", support: "Support: helps users, blocks accounts", admin: "Admin: everything" };

export const BLOCKED_FOR: Record<BlockedFor, string> = { abuse: "Abuse", fraud: "Fraud", legal: "Legal order", security: "Security", spam: "Spam", terms: "Terms of use" };

const SIDES = ["Caller", "Callee"];

const LINES: Record<Line, (line: TimelineEntry) => string> = {
  invited: () => "Call was made",
  rang: () => "Rings at the callee",
  taken: () => "Callee takes the call",
  media: (line) => `${side(line)}: media flows${over(line)}`,
  connected: () => "Connected: media flows at both ends",
  moved: (line) => `${side(line)}: media flows again${over(line)}`,
  left: (line) => `${side(line)}: lost the connection to the hub`,
  back: (line) => `${side(line)}: is back`,
  handed: (line) => `${side(line)}: goes on at another device`,
  relay: (line) => `Put on relay ${short(line.relay ?? "")}`,
  dip: (line) => `${side(line)} is heard badly (opinion score down to ${line.mos?.toFixed(1) ?? "?"})`,
  recovered: (line) => `${side(line)} is heard well again`,
  ended: () => "Ended",
};

const side = (line: TimelineEntry): string => SIDES[line.side ?? 0] ?? "";
const over = (line: TimelineEntry): string => (line.rung === undefined ? "" : `, ${RUNGS[line.rung].toLowerCase().replace("turn", "TURN").replace("udp", "UDP").replace("tcp", "TCP").replace("tls", "TLS")}`);

export function lineText(line: TimelineEntry): string {
  return LINES[line.what](line);
}

/** Enough of an id to tell it from others on a screen. */
export function short(id: string): string {
  return id.slice(0, 8);
}

export function sentence(error: unknown): string {
  if (!(error instanceof ApiError)) return "Something went wrong on this page. Reload it and try again.";
  const wait = error.retryAfter === null ? "" : ` Try again in ${duration(error.retryAfter * 1000)}.`;
  const known: Partial<Record<string, string>> = {
    network: "The server is not reached. Check the connection; nothing was changed.",
    unauthenticated: "Your session is over: sign in again.",
    forbidden: "Your role does not allow this.",
    unavailable: "A store of the service does not answer; nothing was changed.",
    rate_limited: "Too many tries.",
    sign_in_failed: "Name, password and code do not belong together, or the code was used already. A new one comes every 30 seconds.",
  };
  return (known[error.code] ?? sentenceCase(error.message)) + wait;
}

function sentenceCase(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/u.test(text) ? "" : ".");
}

export function when(milliseconds: number): string {
  return new Date(milliseconds).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

export function time(milliseconds: number): string {
  return new Date(milliseconds).toLocaleTimeString(undefined, { timeStyle: "medium" });
}

export function minute(milliseconds: number): string {
  return new Date(milliseconds).toLocaleTimeString(undefined, { timeStyle: "short" });
}

/** A length of time: "350 ms", "4.2 s", "3:07 min", "2 h 5 min", "3 d 2 h". */
export function duration(milliseconds: number): string {
  if (milliseconds < 1_000) return `${Math.max(0, Math.round(milliseconds))} ms`;
  const seconds = milliseconds / 1_000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const whole = Math.floor(seconds);
  if (whole < 3_600) return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")} min`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 1_440) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1_440)} d ${Math.floor(minutes / 60) % 24} h`;
}

export function percent(share: number | undefined, digits = 1): string {
  return share === undefined ? "–" : `${(100 * share).toFixed(digits)} %`;
}

export function bytes(number: number): string {
  return number < 1e9 ? `${Math.round(number / 1e6)} MB` : `${(number / 1e9).toFixed(1)} GB`;
}

const names = new Intl.DisplayNames(["en"], { type: "region" });
export function country(code: string, region: string): string {
  return code === "" ? "All others" : `${region === "ZZ" ? "Unknown" : names.of(region) ?? region} (+${code})`;
}
