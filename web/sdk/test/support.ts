/** Devices made as the real client makes them, for tests. */
import { randomId } from "../src/bytes.js";
import { certifyFirstDevice, certifyFurtherDevice, makeDeviceKeys, publicKey, type DeviceKeys } from "../src/keys.js";
import type { DeviceCertificate } from "../src/wire.js";

export interface TestDevice { account: string; device: string; keys: DeviceKeys; certificate: DeviceCertificate }

export async function makeDevice(account = randomId()): Promise<TestDevice> {
  const [keys, device] = [await makeDeviceKeys(), randomId()];
  return { account, device, keys, certificate: await certifyFirstDevice(account, device, keys, 1_700_000_000_000) };
}

export async function addDevice(old: TestDevice): Promise<TestDevice> {
  const [keys, device] = [await makeDeviceKeys(), randomId()];
  const claim = { device, signing_key: await publicKey(keys.signing), sealing_key: await publicKey(keys.sealing) };
  return { account: old.account, device, keys, certificate: await certifyFurtherDevice(old.certificate, old.keys, claim, 1_700_000_000_001) };
}
