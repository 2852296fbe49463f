import { describe, expect, test } from "vitest";
import { Media, type MediaOptions } from "../src/media.js";
import { browserPlatform } from "../src/platform.js";
import { iceCredentials } from "../src/sdp.js";

const SDP = [
  "v=0", "t=0 0", "m=audio 40000 UDP/TLS/RTP/SAVPF 111", "c=IN IP4 198.51.100.7", "a=candidate:1 1 udp 2122260223 198.51.100.7 40000 typ host",
  "a=ice-ufrag:mine", "a=ice-pwd:mineminemineminemine12", "a=setup:actpass", "",
].join("\r\n");
const STUN: RTCIceServer = { urls: "stun:198.51.100.1" };
const TURN: RTCIceServer = { urls: ["turn:198.51.100.1", "turns:turn.example.org"], username: "u", credential: "c" };
const RELAYED = "candidate:3 1 udp 41885439 203.0.113.10 50000 typ relay raddr 198.51.100.7 rport 40000";

/** A connection that says `SDP`, and what was done with it. */
async function begun(options: MediaOptions): Promise<{ media: Media; offer: string; configurations: RTCConfiguration[]; added: string[]; said: string[] }> {
  const configurations: RTCConfiguration[] = [];
  const [added, said]: [string[], string[]] = [[], []];
  const due: (() => void)[] = [];
  let connection: Connection | undefined;
  class Connection {
    signalingState = "stable";
    localDescription: RTCSessionDescriptionInit | null = null;
    remoteDescription: RTCSessionDescriptionInit | null = null;
    onicecandidate: ((event: { candidate: { candidate: string; toJSON: () => RTCIceCandidateInit } }) => void) | null = null;
    constructor(configuration: RTCConfiguration) { configurations.push(configuration); connection = this; }
    setConfiguration(configuration: RTCConfiguration): void { configurations.push(configuration); }
    createOffer(): Promise<RTCSessionDescriptionInit> { return Promise.resolve({ type: "offer", sdp: SDP }); }
    setLocalDescription(description: RTCSessionDescriptionInit): Promise<void> {
      this.localDescription = description;
      this.signalingState = "have-local-offer";
      return Promise.resolve();
    }
    setRemoteDescription(description: RTCSessionDescriptionInit): Promise<void> {
      this.remoteDescription = description;
      this.signalingState = "stable";
      added.push(...(description.sdp?.match(/candidate:.*/gu) ?? []));
      return Promise.resolve();
    }
    addIceCandidate({ candidate }: RTCIceCandidateInit): Promise<void> { added.push(candidate ?? ""); return Promise.resolve(); }
  }
  globalThis.MediaStream ??= class {} as unknown as typeof MediaStream;
  const platform = { ...browserPlatform(), RTCPeerConnection: Connection as unknown as typeof RTCPeerConnection, setTimeout: (action: () => void) => due.push(action) };
  const local = { getAudioTracks: () => [] } as unknown as MediaStream;
  const media = new Media(platform, options, local, {
    candidates: (candidates) => { said.push(...candidates.map(({ candidate }) => candidate ?? "")); }, state: () => undefined, remote: () => undefined,
  });
  const offer = await media.offer();
  for (const candidate of ["candidate:1 1 udp 2122260223 198.51.100.7 40000 typ host", RELAYED]) {
    connection?.onicecandidate?.({ candidate: { candidate, toJSON: () => ({ candidate }) } });
  }
  for (const action of due) action();
  await media.accept(SDP);
  await media.add([{ candidate: RELAYED }]);
  return { media, offer, configurations, added, said };
}

describe("a device that hides, with a relay and no TURN server", () => {
  const options = { iceServers: [STUN], hidden: true, closed: true };

  test("has candidates from the start, which nobody is told and nobody can check", async () => {
    const { offer, configurations, said } = await begun(options);
    expect(configurations[0]).toMatchObject({ iceServers: [], iceTransportPolicy: "all" }); // Firefox with none fails for good
    expect(offer).not.toMatch(/198\.51\.100\.7|mine/u);
    const { ufrag, pwd } = iceCredentials(offer) ?? {};
    expect(ufrag).toMatch(/^[A-Za-z0-9+/]{22}$/u);
    expect(pwd).toMatch(/^[A-Za-z0-9+/]{22}$/u);
    expect(said).toEqual([]);
  });

  test("never takes a candidate of the other side, whatever was tried before", async () => {
    const { media, added } = await begun(options);
    await media.offer(true);
    await media.accept(SDP);
    await media.add([{ candidate: RELAYED }]);
    expect(added).toEqual([]);
  });
});

test("with TURN servers it has only theirs until it goes to its leg, and may go back to them", async () => {
  const { media, offer, configurations, added, said } = await begun({ iceServers: [STUN, TURN], hidden: true, closed: true });
  expect(configurations[0]).toMatchObject({ iceServers: [STUN, TURN], iceTransportPolicy: "relay" });
  expect(iceCredentials(offer)?.ufrag).toBe("mine");
  expect([added, said]).toEqual([[], []]);
  await media.offer(true);
  expect(configurations.at(-1)).toMatchObject({ iceTransportPolicy: "relay" });
  await media.accept(SDP);
  expect(added).toHaveLength(1);
});

test("who does not hide says and takes everything", async () => {
  const { offer, configurations, added, said } = await begun({ iceServers: [STUN], hidden: false, closed: false });
  expect(configurations[0]).toMatchObject({ iceServers: [STUN], iceTransportPolicy: "all" });
  expect(offer).toBe(SDP);
  expect(said).toHaveLength(2);
  expect(added).toHaveLength(2);
});
