/** What is read and changed in session descriptions (RFC 8866, RFC 8839): ICE lines, candidates, DTLS roles, Opus settings. Pure. */

export interface IceCredentials { readonly ufrag: string; readonly pwd: string }
/** One's leg of the relay: what stands in the other side's place as far as ICE goes. */
export interface Leg extends IceCredentials { readonly candidates: readonly string[] }

/** Candidates of one leg at most: a relay has one for each of its addresses. */
const MOST_CANDIDATES = 32;

/** Type preference of candidates of the other side, at most: below that of each candidate of ours but TURN's, as the lower one of the two counts. */
const MOST_PREFERRED = 98;

const lines = (sdp: string): string[] => sdp.split(/\r?\n/u).filter((line) => line !== "");
const joined = (all: readonly string[]): string => `${all.join("\r\n")}\r\n`;

/** The first user name fragment and password; with everything bundled there is one pair. Null: none. */
export function iceCredentials(sdp: string): IceCredentials | null {
  const ufrag = /^a=ice-ufrag:(\S+)/mu.exec(sdp)?.[1];
  const pwd = /^a=ice-pwd:(\S+)/mu.exec(sdp)?.[1];
  return ufrag === undefined || pwd === undefined ? null : { ufrag, pwd };
}

/** `active`, `passive` or `actpass` (RFC 8842, section 5); null: none. */
export function setupRole(sdp: string): string | null {
  return /^a=setup:(\S+)/mu.exec(sdp)?.[1] ?? null;
}

/** The description without any address: no candidates, no connection data. */
export function withoutAddresses(sdp: string): string {
  return joined(lines(sdp).flatMap((line) => {
    if (/^a=(?:candidate|end-of-candidates|remote-candidates)/u.test(line)) return [];
    if (line.startsWith("c=")) return ["c=IN IP4 0.0.0.0"];
    if (line.startsWith("a=rtcp:")) return ["a=rtcp:9 IN IP4 0.0.0.0"];
    const media = /^m=(\S+) \d+ (.*)$/u.exec(line);
    return media === null ? [line] : [`m=${media[1] ?? ""} 9 ${media[2] ?? ""}`];
  }));
}

/** The description with other ICE credentials. They may be base64url, whose `-` and `_` are made ice-chars (RFC 8839, section 5.4). */
export function withCredentials(sdp: string, { ufrag, pwd }: IceCredentials): string {
  const iceChars = (text: string): string => text.replace(/-/gu, "+").replace(/_/gu, "/");
  return joined(lines(sdp).map((line) => {
    if (line.startsWith("a=ice-ufrag:")) return `a=ice-ufrag:${iceChars(ufrag)}`;
    return line.startsWith("a=ice-pwd:") ? `a=ice-pwd:${iceChars(pwd)}` : line;
  }));
}

/** A candidate of a TURN server without the address that the server saw (RFC 8839, section 5.1: raddr); null: it is not a TURN server's. */
export function relayedOnly(candidate: string): string | null {
  if (!/ typ relay( |$)/u.test(candidate)) return null;
  return candidate.replace(/ raddr \S+/u, " raddr 0.0.0.0").replace(/ rport \d+/u, " rport 9");
}

/**
 * A candidate, or a description with candidates, of a negotiation (1, 2, …) that is preferred to all before it: its priorities are those of better types
 * (RFC 8445, section 5.1.2.1), and among themselves keep their order. Chromium stays with an old pair of a higher priority until 2.5 s after
 * the last packet on it, though a new one answers.
 */
export function preferred(sdp: string, negotiation: number): string {
  return sdp.replace(/(candidate:\S+ \d+ \S+ )(\d+)( \S+ \d+ typ (\S+))/gu, (_, before: string, priority: string, after: string, type: string) => {
    const rank = type === "host" ? 2 : type === "relay" ? 0 : 1;
    return `${before}${Math.min(MOST_PREFERRED, 3 * negotiation + rank) * 2 ** 24 + (Number(priority) % 2 ** 24)}${after}`;
  });
}

/**
 * The other side's description as an answer to our offer, with only its ICE lines replaced by those of our leg.
 *
 * `peer`: its newest description; DTLS fingerprint, media and codecs stay its own. `offer`: ours; header extensions that it does not have are left out
 * (Firefox refuses an answer with others). The leg is announced as ICE-lite: it is always the controlled side, and a callee that keeps the role
 * it had towards the other side (Firefox does) would be a second one, and wait for ever. `active`: we have the DTLS client's role, which must stay so (RFC 8842, section 5.5).
 *
 * Throws when the leg is more than one: the hub tells it, and a line break in it would be another line of the description, such as a fingerprint.
 */
export function overLeg(peer: string, offer: string, leg: Leg, active: boolean): string {
  if (!isLeg(leg)) throw new TypeError("no leg of a relay");
  const offered = new Set([...offer.matchAll(/^a=extmap:\d+(?:\/\S+)? (\S+)/gmu)].map((match) => match[1]));
  return joined(lines(withoutAddresses(peer)).flatMap((line) => {
    if (line.startsWith("a=ice-ufrag:")) return [`a=ice-ufrag:${leg.ufrag}`];
    if (line.startsWith("a=ice-pwd:")) return [`a=ice-pwd:${leg.pwd}`, ...leg.candidates.map((one) => `a=${one}`), "a=end-of-candidates"];
    if (line.startsWith("a=ice-options:") || line === "a=ice-lite") return [];
    if (line.startsWith("t=")) return [line, "a=ice-lite"];
    if (line.startsWith("a=setup:")) return [`a=setup:${active ? "passive" : "active"}`];
    const extension = /^a=extmap:\d+(?:\/\S+)? (\S+)/u.exec(line);
    return extension !== null && !offered.has(extension[1]) ? [] : [line];
  }));
}

/** ICE credentials as RFC 8839, section 5.4, has them, and candidates of one line each. */
function isLeg({ ufrag, pwd, candidates }: Leg): boolean {
  return /^[A-Za-z0-9+/]{4,256}$/u.test(ufrag) && /^[A-Za-z0-9+/]{22,256}$/u.test(pwd)
    && candidates.length <= MOST_CANDIDATES && candidates.every((one) => /^candidate:[\x20-\x7e]{1,400}$/u.test(one));
}

/**
 * What the other side is to be sent: Opus with in-band FEC against loss and with pauses for silence (RFC 7587, section 6.1). Applied to its
 * description, it holds for what we send.
 */
export function withRobustOpus(sdp: string): string {
  const opus = /^a=rtpmap:(\d+) opus\/48000/imu.exec(sdp)?.[1];
  if (opus === undefined) return sdp;
  return joined(lines(sdp).map((line) => {
    if (!line.startsWith(`a=fmtp:${opus} `)) return line;
    const kept = line.slice(line.indexOf(" ") + 1).split(";").map((one) => one.trim()).filter((one) => one !== "" && !/^(?:useinbandfec|usedtx)=/u.test(one));
    return `a=fmtp:${opus} ${[...kept, "useinbandfec=1", "usedtx=1"].join(";")}`;
  }));
}
