/** Choices of how the page looks. They hold for this page; they are kept on this device only when the user says so (P20). */
export type Theme = "system" | "light" | "dark";

const KEY = "kloudtalk.choices";

let theme: Theme = "system";
let kept = false;

/** Takes up what was kept, if anything was. Before that, nothing is stored on this device but the keys of who signed in. */
export function restoreChoices(): void {
  try {
    const stored = localStorage.getItem(KEY);
    if (stored === null) return;
    kept = true;
    const { theme: chosen } = JSON.parse(stored) as { theme?: unknown };
    if (chosen === "light" || chosen === "dark") theme = chosen;
    show();
  } catch {
    // storage is switched off, or holds something else: the system's choice counts
  }
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
  localStorage.setItem(KEY, JSON.stringify({ theme }));
}

function show(): void {
  if (theme === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = theme;
}
