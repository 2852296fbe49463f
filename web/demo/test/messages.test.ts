/** Every language says everything: nothing of the page stands outside of the catalogues, and nothing in them is unused or broken. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parse, TYPE, type MessageFormatElement } from "@formatjs/icu-messageformat-parser";
import { parseSync } from "vite";
import { expect, test } from "vitest";
import { SENTENCES } from "../../sdk/src/errors";
import { DETAILS } from "../../sdk/src/security";
import arabic from "../src/messages/ar";
import german from "../src/messages/de";

const here = fileURLToPath(new URL("..", import.meta.url));
const english = Object.fromEntries(Object.keys(german).map((message) => [message, message]));
const catalogues: Record<string, Record<string, string>> = { en: english, de: german, ar: arabic };
const sources = readdirSync(`${here}src`, { recursive: true, encoding: "utf8" }).filter((name) => /\.tsx?$/u.test(name) && !name.startsWith("messages"));

interface Node { type: string; name?: string | Node; value?: unknown; [key: string]: unknown }

function walk(node: unknown, visit: (node: Node) => void): void {
  if (Array.isArray(node)) for (const one of node) walk(one, visit);
  else if (node !== null && typeof node === "object") {
    if (typeof (node as Node).type === "string") visit(node as Node);
    for (const child of Object.values(node)) walk(child, visit);
  }
}

/** What a message is given: arguments, and elements. */
function needs(elements: MessageFormatElement[], found = new Set<string>()): Set<string> {
  for (const element of elements) {
    if (element.type === TYPE.argument || element.type === TYPE.plural) found.add(element.value);
    if (element.type === TYPE.tag) { found.add(`<${element.value}>`); needs(element.children, found); }
    if (element.type === TYPE.plural) for (const { value } of Object.values(element.options)) needs(value, found);
  }
  return found;
}

function plurals(elements: MessageFormatElement[]): string[][] {
  return elements.flatMap((element) => (element.type === TYPE.plural ? [Object.keys(element.options)] : element.type === TYPE.tag ? plurals(element.children) : []));
}

/** Names, which are the same everywhere. */
const NAMES = /^(KloudTalk|[\s\p{P}\p{S}\d]*)$/u;

test.each(sources)("what %s says goes through the catalogues", (name) => {
  const { program, errors } = parseSync(name, readFileSync(`${here}src/${name}`, "utf8"));
  expect(errors).toEqual([]);
  const said: string[] = [];
  walk(program, (node) => {
    if (node.type === "JSXText" && !NAMES.test(node.value as string)) said.push((node.value as string).trim());
    const text = node.type === "JSXAttribute" ? (node["value"] as Node | null) : null;
    if (text?.type === "Literal" && /^(aria-label|alt|hint|label|lead|placeholder|question|title|yes|note)$/u.test((node.name as Node).name as string) && !NAMES.test(text.value as string)) said.push(text.value as string);
  });
  expect(said).toEqual([]);
});

test("nothing in the catalogues is unused", () => {
  const literals = new Set<unknown>([...Object.values(SENTENCES), ...Object.values(DETAILS)]);
  for (const name of sources) walk(parseSync(name, readFileSync(`${here}src/${name}`, "utf8")).program, (node) => { if (node.type === "Literal") literals.add(node.value); });
  const server = readFileSync(`${here}../../signaling/privacy/objections.py`, "utf8").replace(/"\s*\n\s*"/gu, "");
  expect(Object.keys(german).filter((message) => !literals.has(message) && !server.includes(`"${message}"`) && message !== "Something went wrong. Please try again.")).toEqual([]);
});

test("what the SDK says is there in every language", () => {
  const said = [...Object.values(SENTENCES), ...Object.values(DETAILS)];
  expect(said.filter((sentence) => !Object.hasOwn(german, sentence))).toEqual([]);
});

test.each(Object.keys(catalogues))("each message in %s is whole", (language) => {
  const categories = new Set(new Intl.PluralRules(language).resolvedOptions().pluralCategories);
  for (const [message, text] of Object.entries(catalogues[language] ?? {})) {
    expect(text.trim(), message).not.toBe("");
    const parsed = parse(text);
    expect(needs(parsed), message).toEqual(needs(parse(message)));
    for (const forms of plurals(parsed)) expect(new Set(forms), message).toEqual(categories);
  }
});

test("the languages say the same, each in its own words", () => {
  expect(Object.keys(arabic).sort()).toEqual(Object.keys(german).sort());
  for (const [message, text] of Object.entries(arabic)) expect(text, message).toMatch(/\p{Script=Arabic}/u);
});

test("who is woken reads it in every language", () => {
  const worker = readFileSync(`${here}public/service-worker.js`, "utf8");
  for (const language of Object.keys(catalogues)) expect(worker).toContain(`\n  ${language}: {`);
});
