import { useId, useState } from "preact/hooks";
import { choicesKept, chooseTheme, currentTheme, keepChoices, type Theme } from "../choices";

const THEMES: { value: Theme; label: string }[] = [
  { value: "system", label: "As my system" }, { value: "light", label: "Light" }, { value: "dark", label: "Dark" },
];

/** How the page looks, and whether that is remembered here. Nothing is stored before the user says so (P20). */
export function Looks() {
  const [theme, setTheme] = useState(currentTheme);
  const [kept, setKept] = useState(choicesKept);
  const [failed, setFailed] = useState(false);
  const id = useId();
  return (
    <section class="card stack" aria-labelledby="looks">
      <h2 id="looks">Looks</h2>
      <div class="field">
        <label for={id}>Theme</label>
        <select id={id} value={theme} onChange={(event) => { const chosen = event.currentTarget.value as Theme; chooseTheme(chosen); setTheme(chosen); }}>
          {THEMES.map(({ value, label }) => <option key={value} value={value}>{label}</option>)}
        </select>
      </div>
      <label class="check">
        <input type="checkbox" checked={kept} onChange={(event) => { const keep = event.currentTarget.checked; const done = keepChoices(keep); setFailed(!done); setKept(done && keep); }} />
        <span>Remember it on this device</span>
      </label>
      {failed ? <p class="error" role="alert">This browser does not store anything for this page.</p> : null}
      <p class="soft small">KloudTalk sets no cookies. Without this, your choice ends with the page.</p>
    </section>
  );
}
