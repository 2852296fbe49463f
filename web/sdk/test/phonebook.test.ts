import { expect, test } from "vitest";
import { parsePhonebook } from "../src/phonebook.js";

test("pasted lines become names and E.164 numbers, in the country that is given", () => {
  const { entries, rejected } = parsePhonebook("Anna Müller, 030 1234567\nBob +44 20 7946 0018\n+1 (212) 555-0123\n\n", "DE");
  expect(entries).toEqual([
    { name: "Anna Müller", phone: "+49301234567" },
    { name: "Bob", phone: "+442079460018" },
    { name: "+1 212 555 0123", phone: "+12125550123" },
  ]);
  expect(rejected).toEqual([]);
});

test("a CSV with a heading, quotes, semicolons and addresses", () => {
  const { entries } = parsePhonebook('Name;Phone;E-mail\n"Doe";"Jane";"+49 170 1234567";"jane@example.org"\n', "DE");
  expect(entries).toEqual([{ name: "Doe Jane", phone: "+491701234567" }]);
});

test("vCards: folded lines, several numbers, quoted-printable, tel: URIs", () => {
  const card = [
    "BEGIN:VCARD", "VERSION:4.0", "FN:Ada Love", " lace", "TEL;TYPE=cell;VALUE=uri:tel:+44-20-7946-0001", "item1.TEL:020 7946 0002", "END:VCARD",
    "BEGIN:VCARD", "VERSION:2.1", "N;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:M=C3=BCller;J=C3=B6rg;;;", "TEL;CELL:+49 170 7654321", "END:VCARD",
    "BEGIN:VCARD", "VERSION:3.0", "FN:Nobody\\, Inc.", "END:VCARD",
  ].join("\r\n");
  const { entries, rejected } = parsePhonebook(card, "GB");
  expect(entries).toEqual([
    { name: "Ada Lovelace", phone: "+442079460001" },
    { name: "Ada Lovelace", phone: "+442079460002" },
    { name: "Jörg Müller", phone: "+491707654321" },
  ]);
  expect(rejected).toEqual([{ line: "Nobody, Inc.", reason: "no_number" }]);
});

test("what is no number is named, and a number that comes twice is counted", () => {
  const { entries, rejected, duplicates } = parsePhonebook("Nobody\nNowhere +999 12345678\nA +49301234567\nB 030 1234567", "DE");
  expect(entries).toEqual([{ name: "A", phone: "+49301234567" }]);
  expect(rejected.map(({ reason }) => reason)).toEqual(["no_number", "invalid_number"]);
  expect(duplicates).toBe(1);
});
