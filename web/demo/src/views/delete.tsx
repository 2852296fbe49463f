import { useState } from "preact/hooks";
import { t } from "../i18n";
import { Failure, Field, Modal, useAction, useTalk } from "../ui";

/** Deletes the account, after a word was typed: nothing brings it back (P23). */
export function DeleteAccount() {
  const { client } = useTalk();
  const { busy, error, run } = useAction();
  const [asking, setAsking] = useState(false);
  const [typed, setTyped] = useState("");
  return (
    <>
      <button type="button" class="plain risk" onClick={() => { setTyped(""); setAsking(true); }}>{t("Delete my account")}</button>
      {asking ? (
        <Modal label={t("Delete my account")} kind="sheet" onCancel={() => setAsking(false)}>
          <form class="card stack" noValidate onSubmit={(event) => { event.preventDefault(); if (typed.trim().toLowerCase() === t("delete")) void run(() => client.deleteAccount()); }}>
            <h2>{t("Delete my account")}</h2>
            <p>{t("Number, address, devices, contacts, calls and settings are deleted at once, and cannot be brought back.")}</p>
            <Field label={t("Type “{word}” to confirm", { word: t("delete") })}>
              {(field) => <input {...field} type="text" autocomplete="off" autocapitalize="off" value={typed} onInput={(event) => setTyped(event.currentTarget.value)} />}
            </Field>
            <Failure error={error} />
            <button type="submit" class="danger wide" disabled={busy || typed.trim().toLowerCase() !== t("delete")}>{t("Delete everything")}</button>
            <button type="button" class="wide" onClick={() => setAsking(false)}>{t("Cancel")}</button>
          </form>
        </Modal>
      ) : null}
    </>
  );
}
