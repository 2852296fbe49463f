import { expect, test } from "vitest";
import { decryptEntry, encryptEntry, importBookKey } from "../src/address-book.js";
import { fromBase64url, randomBytes, toBase64url } from "../src/bytes.js";
import { makeSecret, parseCode, showCode } from "../src/linking.js";

const token = "t".repeat(86);

test("an entry is read again with the key and for its token only", async () => {
  const [key, other] = [await importBookKey(randomBytes(32)), await importBookKey(randomBytes(32))];
  const entry = await encryptEntry(key, token, { name: "Zoë", phone: "+49301234567" });
  expect(await decryptEntry(key, token, entry)).toEqual({ name: "Zoë", phone: "+49301234567" });
  expect(await decryptEntry(other, token, entry)).toBeNull();
  expect(await decryptEntry(key, "u".repeat(86), entry)).toBeNull();
  expect(await decryptEntry(key, token, "not base64url!")).toBeNull();
});

test("the longest names fit the server's bound", async () => {
  const key = await importBookKey(randomBytes(32));
  for (const name of ["x".repeat(5000), "😀".repeat(500), "\"\\\u0001".repeat(500) + "é".repeat(400), "\ud800".repeat(300)]) {
    const entry = await encryptEntry(key, token, { name, phone: "+123456789012345" });
    expect(entry.length).toBeLessThanOrEqual(512);
    expect(await decryptEntry(key, token, entry)).not.toBeNull();
  }
});

test("base64url is canonical both ways", () => {
  for (let length = 0; length < 70; length++) {
    const bytes = randomBytes(length);
    expect(toBase64url(bytes)).toBe(Buffer.from(bytes).toString("base64url"));
    expect(fromBase64url(toBase64url(bytes))).toEqual(bytes);
  }
  for (const bad of ["A", "AB=", "A+", "AB", "AAB"]) expect(() => fromBase64url(bad)).toThrow(RangeError);
});

test("a code is typed in many ways, and no other text is one", () => {
  const secret = makeSecret();
  expect(secret).toMatch(/^[0-9A-HJKMNP-TV-Z]{12}$/);
  expect(parseCode(` ${showCode("7AB0", secret).toLowerCase()} `)).toEqual({ lookup: "7AB0", secret });
  expect(parseCode("OIL0-ABCD-EFGH-JKMN")).toEqual({ lookup: "0110", secret: "ABCDEFGHJKMN" });
  for (const bad of ["", "ABCD-EFGH-JKMN", "UUUU-UUUU-UUUU-UUUU", `${showCode("7AB0", secret)}X`]) expect(parseCode(bad)).toBeNull();
});
