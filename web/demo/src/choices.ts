/** Choices of how the page looks and which language it speaks. They hold for this page; they are kept on this device only when the user says so (P20). */
import { isLanguage, language, preferredLanguage, speak, type Language } from "./i18n";

export type Theme = "system" | "light" | "dark";

const KEY = "kloudtalk.choices";

let theme: Theme = "system";
let kept = false;

/** Takes up what was kept, if anything was; else the browser's language. Before that, nothing is stored on this device but the keys of who signed in. */
export async function restoreChoices(): Promise<void> {
  let chosen: Language | null = null;
  try {
    const stored = localStorage.getItem(KEY);
    if (stored !== null) {
      kept = true;
      const choices = JSON.parse(stored) as { theme?: unknown; language?: unknown };
      if (choices.theme === "light" || choices.theme === "dark") theme = choices.theme;
      if (isLanguage(choices.language)) chosen = choices.language;
    }
  } catch {
    // storage is switched off, or holds something else: the system's choices count
  }
  show();
  await speak(chosen ?? preferredLanguage()).catch(() => undefined); // its texts did not arrive: English is always there
}

export function currentTheme(): Theme {
  return theme;
}

export function choicesKept(): boolean {
  return kept;
}

export function chooseTheme(chosen: Theme): void {
  theme = chosen;
  show();
  if (kept) store();
}

/** Speak a language from now on. Rejects when its texts cannot be loaded; the page then goes on as it was. */
export async function chooseLanguage(chosen: Language): Promise<void> {
  await speak(chosen);
  if (kept) store();
}

/** Keep choices on this device from now on, or forget them at once. False when this browser stores nothing. */
export function keepChoices(keep: boolean): boolean {
  try {
    if (keep) store();
    else localStorage.removeItem(KEY);
    kept = keep;
    return true;
  } catch {
    return false;
  }
}

function store(): void {
  localStorage.setItem(KEY, JSON.stringify({ theme, language: language() }));
}

function show(): void {
  if (theme === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme;
}
