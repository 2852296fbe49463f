import { useId, useState } from "preact/hooks";
import { choicesKept, chooseLanguage, chooseTheme, currentTheme, keepChoices, type Theme } from "../choices";
import { isLanguage, language, LANGUAGES, type Message, t } from "../i18n";
import { Failure, useAction } from "../ui";

const THEMES: { value: Theme; label: Message }[] = [
  { value: "system", label: "As my system" }, { value: "light", label: "Light" }, { value: "dark", label: "Dark" },
];

/** The language of the page, each by its own name; in the header before one is signed in, and in the settings. */
export function LanguageSelect({ id }: { id?: string }) {
  const { error, run } = useAction();
  return (
    <>
      <select id={id} class={id === undefined ? "compact" : undefined} aria-label={id === undefined ? t("Language") : undefined} value={language()}
        onChange={(event) => { const { value } = event.currentTarget; if (isLanguage(value)) void run(() => chooseLanguage(value)); }}>
        {Object.entries(LANGUAGES).map(([code, name]) => <option key={code} value={code} lang={code}>{name}</option>)}
      </select>
      {error === null ? null : <Failure error={error} />}
    </>
  );
}

/** How the page looks, which language it speaks, and whether that is remembered here. Nothing is stored before the user says so (P20). */
export function Looks() {
  const [theme, setTheme] = useState(currentTheme);
  const [kept, setKept] = useState(choicesKept);
  const [failed, setFailed] = useState(false);
  const id = useId();
  return (
    <section class="card stack" aria-labelledby="looks">
      <h2 id="looks">{t("Looks and language")}</h2>
      <div class="field">
        <label for={id}>{t("Theme")}</label>
        <select id={id} value={theme} onChange={(event) => { const chosen = event.currentTarget.value as Theme; chooseTheme(chosen); setTheme(chosen); }}>
          {THEMES.map(({ value, label }) => <option key={value} value={value}>{t(label)}</option>)}
        </select>
      </div>
      <div class="field">
        <label for={`${id}-language`}>{t("Language")}</label>
        <LanguageSelect id={`${id}-language`} />
      </div>
      <label class="check">
        <input type="checkbox" checked={kept} onChange={(event) => { const keep = event.currentTarget.checked; const done = keepChoices(keep); setFailed(!done); setKept(done && keep); }} />
        <span>{t("Remember this on this device")}</span>
      </label>
      {failed ? <p class="error" role="alert">{t("This browser does not store anything for this page.")}</p> : null}
      <p class="soft small">{t("KloudTalk sets no cookies. Without this, your choices end with the page.")}</p>
    </section>
  );
}
