import "fake-indexeddb/auto";
import { beforeEach, describe, expect, test } from "vitest";
import { randomId } from "../src/bytes.js";
import { verifyCertificate } from "../src/certificates.js";
import { certifyFurtherDevice, publicKey } from "../src/keys.js";
import { Security } from "../src/security.js";
import { open, seal } from "../src/sealing.js";
import { safetyNumber } from "../src/safety-number.js";
import type { SecurityNotice } from "../src/state.js";
import { Storage } from "../src/storage.js";
import { addDevice, makeDevice } from "./support.js";

let notices: SecurityNotice[];
let security: Security;
let storage: Storage;
const kinds = (): string[] => notices.map((notice) => notice.kind);

beforeEach(async () => {
  notices = [];
  storage = await Storage.open(indexedDB, randomId());
  security = new Security(storage, () => 0, (notice) => notices.push(notice));
});

describe("certificates", () => {
  test("a chain of two devices verifies, and no part of it can be changed", async () => {
    const first = await makeDevice();
    const second = await addDevice(first);
    expect(await verifyCertificate(second.certificate)).toBe(true);
    const other = await makeDevice(first.account);
    const [link0, link1] = second.certificate.chain;
    expect(await verifyCertificate({ ...second.certificate, account: randomId() })).toBe(false);
    expect(await verifyCertificate({ ...second.certificate, identity_key: other.certificate.identity_key })).toBe(false);
    expect(await verifyCertificate({ ...second.certificate, chain: [link0!, { ...link1!, sealing_key: await publicKey(other.keys.sealing) }] })).toBe(false);
    expect(await verifyCertificate({ ...second.certificate, chain: [link1!, link0!] })).toBe(false);
    expect(await verifyCertificate({ ...second.certificate, chain: [] })).toBe(false);
    const again = await certifyFurtherDevice(second.certificate, second.keys, { device: first.device, signing_key: link0!.signing_key, sealing_key: link0!.sealing_key }, 1);
    expect(await verifyCertificate(again)).toBe(false);
  });
});

describe("a hub that lies", () => {
  test("a swapped device key is noticed", async () => {
    const [bob, mallory] = [await makeDevice(), await makeDevice()];
    expect(await security.judge(bob.account, [bob.certificate])).toBe("trusted");
    const link = bob.certificate.chain[0]!;
    const swapped = { ...bob.certificate, chain: [{ ...link, sealing_key: await publicKey(mallory.keys.sealing) }] };
    expect(await security.judge(bob.account, [swapped])).toBe("refused");
    expect(kinds()).toEqual(["ghost_device"]);
  });

  test("a ghost device beside the real ones is noticed, before and after the pin", async () => {
    const bob = await makeDevice();
    const ghost = await makeDevice(bob.account);
    expect(await security.judge(bob.account, [bob.certificate, ghost.certificate])).toBe("refused");
    expect(security.pin(bob.account)).toBeUndefined();
    expect(await security.judge(bob.account, [bob.certificate])).toBe("trusted");
    notices = [];
    expect(await security.judge(bob.account, [bob.certificate, ghost.certificate])).toBe("refused");
    expect(notices).toMatchObject([{ kind: "ghost_device", device: ghost.device }]);
  });

  test("a new identity key is not trusted until the user accepts it", async () => {
    const [bob, anew] = await Promise.all([makeDevice("A".repeat(22)), makeDevice("A".repeat(22))]);
    await security.judge(bob.account, [bob.certificate]);
    expect(await security.judge(bob.account, [anew.certificate])).toBe("changed");
    expect(await security.judge(bob.account, [anew.certificate])).toBe("changed");
    expect(kinds()).toEqual(["identity_changed"]);
    await security.acceptChange(bob.account);
    expect(await security.judge(bob.account, [anew.certificate])).toBe("trusted");
    const later = new Security(storage, () => 0, (notice) => notices.push(notice));
    await later.load();
    expect(await later.judge(bob.account, [bob.certificate])).toBe("changed");
  });

  test("a replayed payload is noticed; the same by `sync` is silence", async () => {
    const [alice, bob] = [await makeDevice(), await makeDevice()];
    const call = randomId();
    const sender = new Security(storage, () => 0, () => undefined);
    const sealed = await sender.seal(call, alice.device, alice.keys, bob.certificate, "offer", { sdp: "x" });
    const second = await sender.seal(call, alice.device, alice.keys, bob.certificate, "state", { muted: true });
    expect(await security.open(call, alice.certificate, bob.device, bob.keys, sealed, false)).toEqual({ kind: "offer", n: 0, body: { sdp: "x" } });
    expect((await security.open(call, alice.certificate, bob.device, bob.keys, second, false))?.n).toBe(1);
    expect(await security.open(call, alice.certificate, bob.device, bob.keys, sealed, true)).toBeNull();
    expect(kinds()).toEqual([]);
    expect(await security.open(call, alice.certificate, bob.device, bob.keys, sealed, false)).toBeNull();
    expect(kinds()).toEqual(["replayed"]);
  });

  test("a device that takes a call over again uses numbers that it has not used before", async () => {
    const [alice, bob] = [await makeDevice(), await makeDevice()];
    const call = randomId();
    let now = 1_000;
    const sender = new Security(storage, () => now++, () => undefined);
    const send = (kind: string) => sender.seal(call, alice.device, alice.keys, bob.certificate, kind, {});
    for (const kind of ["offer", "take_over", "take_over"]) {
      expect((await security.open(call, alice.certificate, bob.device, bob.keys, await send(kind), false))?.kind).toBe(kind);
      sender.endCall(call); // it moved away
      now += 100;
      sender.resume(call);
    }
    expect(kinds()).toEqual([]);
  });

  test("a payload that is changed, for another call, or signed by another device is not opened", async () => {
    const [alice, bob, mallory] = [await makeDevice(), await makeDevice(), await makeDevice()];
    const call = randomId();
    const route = { call, sender: alice.device, receiver: bob.device };
    const to = await publicKey(bob.keys.sealing);
    const forged = await seal(route, { kind: "offer", n: 0, body: {} }, mallory.keys.signing.privateKey, to);
    expect(await security.open(call, alice.certificate, bob.device, bob.keys, forged, false)).toBeNull();
    const real = await seal(route, { kind: "offer", n: 0, body: {} }, alice.keys.signing.privateKey, to);
    const changed = (real.startsWith("A") ? "B" : "A") + real.slice(1);
    expect(await security.open(call, alice.certificate, bob.device, bob.keys, changed, false)).toBeNull();
    expect(await security.open(randomId(), alice.certificate, bob.device, bob.keys, real, false)).toBeNull();
    expect(kinds()).toEqual(["signature_invalid", "cannot_open", "cannot_open"]);
  });
});

test("what is sealed says little about its length, and needs the private key", async () => {
  const [alice, bob] = [await makeDevice(), await makeDevice()];
  const route = { call: randomId(), sender: alice.device, receiver: bob.device };
  const to = await publicKey(bob.keys.sealing);
  const [short, long] = await Promise.all(["a", "b".repeat(150)].map((sdp) => seal(route, { kind: "offer", n: 0, body: { sdp } }, alice.keys.signing.privateKey, to)));
  expect(short!.length).toBe(long!.length);
  expect((await open(route, long!, bob.keys.sealing, await publicKey(alice.keys.signing))).body).toEqual({ sdp: "b".repeat(150) });
  expect(bob.keys.sealing.privateKey.extractable).toBe(false);
  expect(bob.keys.signing.privateKey.extractable).toBe(false);
});

test("both sides see the same safety number, and another key gives another", async () => {
  const [a, b, c] = await Promise.all([makeDevice(), makeDevice(), makeDevice()]);
  const of = (x: typeof a): { account: string; identityKey: string } => ({ account: x.account, identityKey: x.certificate.identity_key });
  expect(safetyNumber(of(a), of(b))).toBe(safetyNumber(of(b), of(a)));
  expect(safetyNumber(of(a), of(b))).toMatch(/^(\d{5} ){11}\d{5}$/);
  expect(safetyNumber(of(a), of(c))).not.toBe(safetyNumber(of(a), of(b)));
});
