import type { AccountState } from "@kloudtalk/sdk";
import { useId } from "preact/hooks";
import { type Message, t } from "../i18n";
import { Failure, useAction, useTalk } from "../ui";

type What = "lastSeen" | "online";

const CHOICES: { value: AccountState["online"]["to"]; label: Message }[] = [
  { value: "same_as_last_seen", label: "The same people" },
  { value: "everyone", label: "Everyone who has my number" },
  { value: "contacts", label: "My contacts" },
  { value: "contacts_except", label: "My contacts, except…" },
  { value: "nobody", label: "Nobody" },
];

/** Who sees when I was here, and who sees that I am (P16). */
export function PresenceSettings() {
  return (
    <section class="card stack" aria-labelledby="seen">
      <h2 id="seen">{t("Who sees that I am here")}</h2>
      <p class="soft small">{t("It works both ways: from whom you hide it, theirs is hidden from you. Whom you blocked never sees it.")}</p>
      <Audience what="lastSeen" label={t("When I was last seen")} note={{ nobody: t("Then it is not recorded at all, and what was recorded is deleted.") }} />
      <Audience what="online" label={t("Whether I am online")} note={{}} />
    </section>
  );
}

function Audience({ what, label, note }: { what: What; label: string; note: Partial<Record<string, string>> }) {
  const { client, state } = useTalk();
  const { busy, error, run } = useAction();
  const id = useId();
  const rule = state.account?.[what];
  const people = state.contacts.filter((contact) => contact.account !== null);
  const excepted = new Set(rule?.excepted ?? []);
  function change(to: AccountState["online"]["to"], list?: readonly string[]) {
    const next = list === undefined ? { to } : { to, excepted: list };
    void run(() => client.changeSettings(what === "online" ? { online: next } : { lastSeen: next as { to: AccountState["lastSeen"]["to"] } }));
  }
  return (
    <div class="stack tight">
      <label for={id}>{label}</label>
      <select id={id} disabled={busy || rule === undefined} value={rule?.to ?? ""} onChange={(event) => change(event.currentTarget.value as AccountState["online"]["to"])}>
        {CHOICES.filter((choice) => what === "online" || choice.value !== "same_as_last_seen").map(({ value, label: text }) => <option key={value} value={value}>{t(text)}</option>)}
      </select>
      {rule !== undefined && note[rule.to] !== undefined ? <p class="soft small">{note[rule.to]}</p> : null}
      {rule?.to === "contacts_except" ? (
        <fieldset disabled={busy} class="indented">
          <legend>{t("Hidden from")}</legend>
          {people.length === 0 ? <p class="soft small">{t("None of your contacts is here yet.")}</p> : people.map(({ account, name }) => (
            <label class="check" key={account}>
              <input type="checkbox" checked={excepted.has(account ?? "")}
                onChange={(event) => change("contacts_except", event.currentTarget.checked ? [...excepted, account ?? ""] : [...excepted].filter((other) => other !== account))} />
              <span>{name}</span>
            </label>
          ))}
        </fieldset>
      ) : null}
      <Failure error={error} />
    </div>
  );
}
