import type { Purpose } from "@kloudtalk/sdk";
import { useState } from "preact/hooks";
import { language, t } from "../i18n";
import { day, Failure, Modal, useAction, useLoaded, useTalk } from "../ui";

/** A consent as a switch. Yes is an act of its own, after the very words that are put on record; no takes one click (P21). */
export function ConsentSwitch({ purpose, label, note }: { purpose: Purpose; label: string; note?: string }) {
  const { client, state } = useTalk();
  const { busy, error, run } = useAction();
  const [asking, setAsking] = useState(false);
  const consent = state.consents.find((one) => one.purpose === purpose);
  return (
    <>
      <label class="check">
        <input type="checkbox" checked={consent?.granted ?? false} disabled={busy || consent === undefined}
          onChange={(event) => {
            if (event.currentTarget.checked) {
              event.currentTarget.checked = false; // it is not given before it was read
              setAsking(true);
            } else void run(() => client.setConsent(purpose, false));
          }} />
        <span>{label}{consent?.granted && consent.at !== null ? ` (${t("allowed {date}", { date: day(consent.at) })})` : ""}</span>
      </label>
      {note !== undefined ? <p class="soft small">{note}</p> : null}
      <Failure error={error} />
      {asking ? <Ask purpose={purpose} label={label} close={() => setAsking(false)} /> : null}
    </>
  );
}

/** Permissions whose words have changed since they were given: they are off until they are answered anew (P21). */
export function AskAgain() {
  const { state } = useTalk();
  const changed = state.consents.find((one) => one.changed);
  return changed === undefined ? null : <Changed key={changed.purpose} purpose={changed.purpose} />;
}

function Changed({ purpose }: { purpose: Purpose }) {
  const { client } = useTalk();
  const question = useLoaded(() => client.question(purpose, language()), language());
  const { busy, error, run } = useAction();
  const shown = question.value;
  return (
    <section class="card stack" aria-label={t("A question has changed")}>
      <h2>{t("A question has changed")}</h2>
      <p class="soft">{t("You said yes to this in other words. Nothing new is collected until you answer; no deletes what was.")}</p>
      {shown !== null ? <blockquote lang={shown.language} dir="auto">{shown.text}</blockquote> : null}
      <Failure error={question.error ?? error} />
      <div class="row">
        <button type="button" class="primary grow" disabled={busy || shown === null} onClick={() => void run(() => client.setConsent(purpose, true, shown ?? undefined))}>{t("Allow")}</button>
        <button type="button" class="grow" disabled={busy || shown === null} onClick={() => void run(() => client.setConsent(purpose, false, shown ?? undefined))}>{t("No, thanks")}</button>
      </div>
    </section>
  );
}

function Ask({ purpose, label, close }: { purpose: Purpose; label: string; close: () => void }) {
  const { client } = useTalk();
  const question = useLoaded(() => client.question(purpose, language()), language());
  const { busy, error, run } = useAction();
  const shown = question.value;
  return (
    <Modal label={label} kind="sheet" onCancel={close}>
      <div class="card stack">
        <h2>{label}</h2>
        <Failure error={question.error ?? error} />
        {shown !== null ? <blockquote lang={shown.language} dir="auto">{shown.text}</blockquote> : question.error === null ? <p class="soft" role="status">{t("Loading…")}</p> : null}
        <button type="button" class="primary wide" disabled={busy || shown === null} onClick={() => void run(() => client.setConsent(purpose, true, shown ?? undefined)).then((done) => { if (done) close(); })}>{t("Allow")}</button>
        <button type="button" class="wide" onClick={close}>{t("No, thanks")}</button>
      </div>
    </Modal>
  );
}
