/** Phonebooks as people have them (pasted lines, CSV, vCards) to names and E.164 numbers. Nothing leaves the device here. */
import { parsePhoneNumberFromString, type CountryCode } from "libphonenumber-js/min";
import type { ParsedPhonebook, PhonebookEntry } from "./state.js";

export type { CountryCode };

const NUMBER = /[+(]?\d[\d\s()./\u00a0\u2010-\u2015-]{3,}\d/u;

/** `country` is for numbers without a country code. Each number once; the first name given for it stays. */
export function parsePhonebook(text: string, country?: CountryCode): ParsedPhonebook {
  const entries = new Map<string, PhonebookEntry>();
  const rejected: { line: string; reason: "no_number" | "invalid_number" }[] = [];
  let duplicates = 0;
  const found = /^BEGIN:VCARD/imu.test(text) ? cards(text) : lines(text);
  for (const { name, number, line } of found) {
    if (number === null) {
      rejected.push({ line, reason: "no_number" });
      continue;
    }
    const parsed = parsePhoneNumberFromString(number, country);
    if (parsed === undefined || !parsed.isPossible()) {
      rejected.push({ line, reason: "invalid_number" });
      continue;
    }
    const phone: string = parsed.number;
    if (entries.has(phone)) duplicates++;
    else entries.set(phone, { name: name || parsed.formatInternational(), phone });
  }
  return { entries: [...entries.values()], rejected, duplicates };
}

interface Found { name: string; number: string | null; line: string }

function* lines(text: string): Generator<Found> {
  for (const raw of text.split(/\r?\n/u)) {
    const line = raw.trim();
    if (line === "" || /^"?(name|first name|vorname)\b[^0-9]*$/iu.test(line)) continue; // blank, or the heading of a CSV
    const match = NUMBER.exec(line);
    if (match === null) {
      yield { name: "", number: null, line };
      continue;
    }
    const rest = `${line.slice(0, match.index)} ${line.slice(match.index + match[0].length)}`;
    const name = rest.split(/[,;\t|<>"]+/u).map((part) => part.replace(/^[\s:=-]+|[\s:=-]+$/gu, "")).filter((part) => /\p{L}/u.test(part) && !part.includes("@")).join(" ");
    yield { name, number: match[0].trim(), line };
  }
}

/** vCard 2.1 to 4.0 (RFC 6350): one entry for each TEL. */
function* cards(text: string): Generator<Found> {
  const unfolded = text.replace(/=\r?\n/gu, "").replace(/\r?\n[ \t]/gu, "");
  let name = "", formatted = "", numbers: string[] = [];
  for (const line of unfolded.split(/\r?\n/u)) {
    const colon = line.indexOf(":");
    if (colon < 0) continue;
    const [property = "", ...parameters] = line.slice(0, colon).toUpperCase().split(";");
    const key = property.split(".").at(-1);
    const value = decode(line.slice(colon + 1), parameters);
    if (key === "BEGIN") [name, formatted, numbers] = ["", "", []];
    else if (key === "FN") formatted = value;
    else if (key === "N") name = value.split(";").slice(0, 2).reverse().filter(Boolean).join(" ");
    else if (key === "TEL") numbers.push(value.replace(/^tel:/iu, ""));
    else if (key === "END") {
      const shown = formatted || name;
      if (numbers.length === 0 && shown) yield { name: shown, number: null, line: shown };
      for (const number of numbers) yield { name: shown, number: NUMBER.exec(number)?.[0] ?? null, line: `${shown} ${number}`.trim() };
    }
  }
}

function decode(value: string, parameters: readonly string[]): string {
  let text = value;
  if (parameters.some((parameter) => parameter.includes("QUOTED-PRINTABLE"))) {
    const bytes: number[] = [];
    for (let i = 0; i < text.length; i++) {
      const hex = text.charAt(i) === "=" ? /^[0-9A-F]{2}/iu.exec(text.slice(i + 1))?.[0] : undefined;
      if (hex === undefined) bytes.push(...new TextEncoder().encode(text.charAt(i)));
      else {
        bytes.push(Number.parseInt(hex, 16));
        i += 2;
      }
    }
    text = new TextDecoder().decode(new Uint8Array(bytes));
  }
  return text.replace(/\\([,;\\])/gu, "$1").replace(/\\n/giu, " ").trim();
}
