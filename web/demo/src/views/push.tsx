import { t } from "../i18n";
import { Failure, useAction, useTalk } from "../ui";

/** Calls while no page of KloudTalk is open: asked for, never assumed. */
export function PushSwitch() {
  const { client, state } = useTalk();
  const { busy, error, run } = useAction();
  if (state.push === "unsupported") return null;
  return (
    <>
      <label class="check">
        <input type="checkbox" checked={state.push === "on"} disabled={busy || state.push === "denied"}
          onChange={(event) => { const { checked } = event.currentTarget; void run(() => (checked ? client.enablePush() : client.disablePush())); }} />
        <span>{t("Wake this browser for calls while KloudTalk is closed")}</span>
      </label>
      <p class="soft small">
        {state.push === "denied"
          ? t("Your browser does not allow notifications for this page. You can change that in its settings.")
          : t("Your browser's maker passes the wake-up on: it learns that this browser was woken, and when, but not who calls.")}
      </p>
      <Failure error={error} />
    </>
  );
}
