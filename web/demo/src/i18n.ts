/**
 * The languages of the page. What it says is written in English where it is said, as ICU messages (`t("{count, plural, one {# call} other {# calls}}",
 * { count })`), and that English text is the key of every other language's catalogue, `messages/*.ts`. A text that a catalogue lacks does not compile.
 */
import { IntlMessageFormat } from "intl-messageformat";
import type { ComponentChildren } from "preact";
import type { Catalogue, Message } from "./messages/catalogue";

export type { Message };
export type Language = "en" | "de" | "ar";

/** Every language, by its own name. */
export const LANGUAGES: Record<Language, string> = { en: "English", de: "Deutsch", ar: "العربية" };

const CATALOGUES: Record<Language, () => Promise<Catalogue | null>> = {
  en: async () => null, // it stands in the sources
  de: async () => (await import("./messages/de")).default,
  ar: async () => (await import("./messages/ar")).default,
};

type Values = Readonly<Record<string, string | number>>;
type Parts = Readonly<Record<string, string | number | ((chunks: ComponentChildren[]) => ComponentChildren)>>;

let current: Language = "en";
let catalogue: Catalogue | null = null;
const formats = new Map<string, IntlMessageFormat>();
const listeners = new Set<() => void>();

export function isLanguage(value: unknown): value is Language {
  return typeof value === "string" && Object.hasOwn(LANGUAGES, value);
}

/** The first language that the browser's user prefers and that there is. */
export function preferredLanguage(preferred: readonly string[] = navigator.languages): Language {
  for (const tag of preferred) {
    const primary = tag.split("-")[0]?.toLowerCase();
    if (isLanguage(primary)) return primary;
  }
  return "en";
}

export function language(): Language {
  return current;
}

/** The language with the region that the browser knows, for dates and numbers: `de-AT`. */
export function locale(): string {
  return navigator.languages.find((tag) => tag.split("-")[0]?.toLowerCase() === current) ?? current;
}

/** Speak another language from now on, in the whole page. Nothing of it is stored here (`choices.ts`). */
export async function speak(chosen: Language): Promise<void> {
  const loaded = await CATALOGUES[chosen]();
  current = chosen;
  catalogue = loaded;
  formats.clear();
  document.documentElement.lang = chosen;
  document.documentElement.dir = chosen === "ar" ? "rtl" : "ltr";
  for (const listener of listeners) listener();
}

/** Calls back after every change of the language; returns what ends that. */
export function onLanguage(listener: () => void): () => void {
  listeners.add(listener);
  return () => { listeners.delete(listener); };
}

/** What the page says, in its language. */
export function t(message: Message, values?: Values): string {
  const text = catalogue?.[message] ?? message;
  return values === undefined ? text : String(format(text).format(values));
}

/** As `t`, with elements: `<b>…</b>` in the message becomes what the function `b` makes of its content. */
export function rich(message: Message, parts: Parts): ComponentChildren {
  return format(catalogue?.[message] ?? message).format<ComponentChildren>(parts as Record<string, string>) as ComponentChildren;
}

/** A text that another part made (an error of the SDK, a notice, a text of the server): in the page's language when the catalogue has it. */
export function translated(english: string): string {
  return (catalogue as Record<string, string> | null)?.[english] ?? english;
}

function format(text: string): IntlMessageFormat {
  let made = formats.get(text);
  if (made === undefined) formats.set(text, made = new IntlMessageFormat(text, locale()));
  return made;
}

export function date(milliseconds: number, options: Intl.DateTimeFormatOptions): string {
  return new Intl.DateTimeFormat(locale(), options).format(milliseconds);
}

export function number(value: number, options: Intl.NumberFormatOptions = {}): string {
  return new Intl.NumberFormat(locale(), options).format(value);
}

/** A number or a code within a sentence: from left to right, whichever way the sentence runs. */
export function ltr(text: string): string {
  return document.documentElement.dir === "rtl" ? `\u2066${text}\u2069` : text; // LRI, PDI (Unicode UAX #9)
}
