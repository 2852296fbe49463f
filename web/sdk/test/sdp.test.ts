import { describe, expect, test } from "vitest";
import { iceCredentials, overLeg, preferred, relayedOnly, setupRole, withoutAddresses, withRobustOpus } from "../src/sdp.js";

const PEER = [
  "v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0", "m=audio 40000 UDP/TLS/RTP/SAVPF 111 0", "c=IN IP4 198.51.100.7", "a=rtcp:9 IN IP4 0.0.0.0",
  "a=candidate:1 1 udp 2122260223 10.1.0.2 40000 typ host", "a=candidate:2 1 udp 1686052607 198.51.100.7 40000 typ srflx raddr 10.1.0.2 rport 40000", "a=end-of-candidates",
  "a=ice-ufrag:peer", "a=ice-pwd:peerpeerpeerpeerpeerpeer", "a=ice-options:trickle", "a=fingerprint:sha-256 AA:BB", "a=setup:actpass", "a=mid:0",
  "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level", "a=extmap:2/recvonly urn:only-theirs", "a=rtpmap:111 opus/48000/2", "a=fmtp:111 minptime=10;useinbandfec=0", "",
].join("\r\n");
const LEG = { ufrag: "legleg", pwd: "p".repeat(32), candidates: ["candidate:1 1 udp 2130706431 203.0.113.10 41000 typ host"] };

describe("over a leg", () => {
  const answer = overLeg(PEER, "a=extmap:4 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n", LEG, true);

  test("the ICE lines are the leg's, everything that DTLS and media need is the other side's", () => {
    expect(iceCredentials(answer)).toEqual({ ufrag: LEG.ufrag, pwd: LEG.pwd });
    expect(answer.match(/^a=candidate.*/gmu)).toEqual([`a=${LEG.candidates[0] ?? ""}`]);
    expect(answer).toContain("a=fingerprint:sha-256 AA:BB");
    expect(answer).toContain("a=rtpmap:111 opus/48000/2");
  });

  test("a hub that puts lines of its own into a leg is not followed", () => {
    const evil = "\r\na=fingerprint:sha-256 EE:EE";
    for (const leg of [
      { ...LEG, ufrag: LEG.ufrag + evil }, { ...LEG, pwd: LEG.pwd + evil }, { ...LEG, pwd: LEG.pwd + "\n" }, { ...LEG, candidates: [(LEG.candidates[0] ?? "") + evil] },
      { ...LEG, candidates: ["fingerprint:sha-256 EE:EE"] }, { ...LEG, candidates: Array.from({ length: 33 }, () => LEG.candidates[0] ?? "") }, { ...LEG, pwd: "short" },
    ]) expect(() => overLeg(PEER, "", leg, true)).toThrow(TypeError);
  });

  test("roles stay, and no header extension is answered that was not offered", () => {
    expect(setupRole(answer)).toBe("passive");
    expect(setupRole(overLeg(PEER, "", LEG, false))).toBe("active");
    expect(answer).toContain("ssrc-audio-level");
    expect(answer).not.toContain("urn:only-theirs");
  });
});

describe("priorities", () => {
  const host = "candidate:1 1 udp 2130706431 203.0.113.10 41000 typ host";
  const priority = (candidate: string): number => Number(candidate.split(" ")[3]);
  const direct = (negotiation: number): number[] => (preferred(PEER, negotiation).match(/^a=candidate.*/gmu) ?? []).map(priority);

  test("every candidate of a later negotiation comes before all of those before it, and better types come first", () => {
    const relayed = (negotiation: number): number => priority(preferred("candidate:3 1 udp 41885439 203.0.113.10 50000 typ relay raddr 0.0.0.0 rport 9", negotiation));
    for (let n = 1; n < 32; n++) {
      const [ours, srflx] = direct(n);
      expect(ours).toBeGreaterThan(srflx ?? 0);
      expect(srflx).toBeGreaterThan(relayed(n));
      expect(relayed(n + 1)).toBeGreaterThan(ours ?? 0);
    }
    expect(priority(preferred(host, 1_000))).toBeLessThan(100 * 2 ** 24); // below what a browser gives to any candidate of its own but TURN's
  });

  test("nothing else changes", () => {
    expect(preferred(host, 1)).toBe(host.replace("2130706431", String(5 * 2 ** 24 + 2130706431 % 2 ** 24)));
    expect(preferred("", 1)).toBe("");
    expect(preferred(PEER, 2).replace(/ \d+ 10\.1| \d+ 198\.51\.100\.7 40000/gu, "")).toBe(PEER.replace(/ \d+ 10\.1| \d+ 198\.51\.100\.7 40000/gu, ""));
  });
});

describe("addresses", () => {
  test("none is left", () => {
    const hidden = withoutAddresses(PEER);
    expect(hidden).not.toMatch(/10\.1\.0\.2|198\.51\.100\.7|40000/u);
    expect(hidden).toContain("m=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\nc=IN IP4 0.0.0.0\r\n");
    expect(iceCredentials(hidden)?.ufrag).toBe("peer");
  });

  test("of candidates, only those of TURN servers may be said, without what the server saw", () => {
    expect(relayedOnly("candidate:1 1 udp 2122260223 10.1.0.2 40000 typ host")).toBeNull();
    expect(relayedOnly("candidate:2 1 udp 1686052607 198.51.100.7 40000 typ srflx raddr 10.1.0.2 rport 40000")).toBeNull();
    expect(relayedOnly("candidate:3 1 udp 41885439 203.0.113.10 50000 typ relay raddr 198.51.100.7 rport 40000 generation 0"))
      .toBe("candidate:3 1 udp 41885439 203.0.113.10 50000 typ relay raddr 0.0.0.0 rport 9 generation 0");
  });
});

test("Opus is asked for FEC and for pauses, whatever it said before", () => {
  expect(withRobustOpus(PEER)).toContain("a=fmtp:111 minptime=10;useinbandfec=1;usedtx=1\r\n");
  expect(withRobustOpus("v=0\r\n")).toBe("v=0\r\n");
});
