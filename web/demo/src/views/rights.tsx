import type { Objection } from "@kloudtalk/sdk";
import { useEffect, useState } from "preact/hooks";
import { type Message, t, translated } from "../i18n";
import { Icon } from "../icons";
import { Confirmed, day, Failure, useAction, useLoaded, useTalk } from "../ui";

/** What one may ask of the service about oneself: one's data, that it stops, and objections (P22, P23). */
export function Rights() {
  const { client, state } = useTalk();
  const download = useAction();
  const frozen = state.account?.restrictedAt ?? null;
  return (
    <section class="card stack" aria-labelledby="rights">
      <h2 id="rights">{t("My data")}</h2>
      <div><button type="button" disabled={download.busy} onClick={() => void download.run(async () => { save(await client.exportData(), "kloudtalk-export.zip"); })}>{t("Download my data")}</button></div>
      <p class="soft small">{t("Everything that this server stores about you, as one archive that programs can read. Names and numbers of your contacts are in it as they are stored: encrypted.")}</p>
      <Failure error={download.error} />
      {frozen === null ? (
        <>
          <Confirmed label={t("Freeze my account")} question={t("Freeze your account? Nothing is deleted, and nothing is done with it: nobody can call you, you disappear from your contacts’ lists, and you cannot call. You can unfreeze it at any time.")} yes={t("Freeze account")} action={() => client.restrict(true)} />
          <Objections />
        </>
      ) : null}
    </section>
  );
}

/** Says that the account is frozen, above every view. */
export function Frozen() {
  const { client, state } = useTalk();
  const { busy, error, run } = useAction();
  // a frozen account has no connection that would tell
  useEffect(() => { if (state.account === null && state.connection.status === "waiting") client.refreshAccount().catch(() => undefined); }, [state.connection.status]);
  const since = state.account?.restrictedAt ?? null;
  if (since === null) return null;
  return (
    <div class="note warn" role="region" aria-label={t("Account frozen")}>
      <Icon name="warning" />
      <div class="grow">
        <p>{t("Your account is frozen since {date}. Everything is kept; nothing is done with it.", { date: day(since) })}</p>
        <Failure error={error} />
        <button type="button" class="plain" disabled={busy} onClick={() => void run(() => client.restrict(false))}>{t("Unfreeze my account")}</button>
      </div>
    </div>
  );
}

const LABELS: Record<Objection["interest"], Message> = { announcements: "Tell me about new features", statistics: "Count me in statistics" };

function Objections() {
  const { client } = useTalk();
  const { value, error, again } = useLoaded(() => client.objections());
  const change = useAction();
  return (
    <>
      <Failure error={error ?? change.error} />
      {(value ?? []).map((one) => (
        <div key={one.interest}>
          <label class="check">
            <input type="checkbox" checked={!one.objected} disabled={change.busy}
              onChange={(event) => { const objected = !event.currentTarget.checked; void change.run(() => client.object(one.interest, objected)).then(again); }} />
            <span>{t(LABELS[one.interest])}</span>
          </label>
          <p class="soft small">{translated(one.text)}</p>
        </div>
      ))}
    </>
  );
}

/** Hands a file to the browser's downloads. */
export function save(content: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** News, until it is put away; that lasts as long as the page. */
export function News() {
  const { client, state } = useTalk();
  const online = state.connection.status === "online";
  const [news, setNews] = useState<readonly { announcement: string; title: string; text: string; at: number }[]>([]);
  useEffect(() => { if (online) client.services.announcements().then(setNews, () => undefined); }, [online]);
  const [seen, setSeen] = useState(false);
  const latest = news[0];
  if (seen || latest === undefined || Date.now() - latest.at > 14 * 86_400_000) return null;
  return (
    <div class="note" role="region" aria-label={t("News")}>
      <div class="grow">
        <p><strong>{latest.title}</strong> {latest.text}</p>
        <button type="button" class="plain" onClick={() => setSeen(true)}>{t("Got it")}</button>
      </div>
    </div>
  );
}
