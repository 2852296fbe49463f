import type { AccountState, Objection } from "@kloudtalk/sdk";
import { useEffect, useState } from "preact/hooks";
import { download } from "../../../common/parts";
import { type Message, t, translated } from "../i18n";
import { DeleteAccount } from "./delete";
import { Confirmed, day, Failure, Title, useAction, useLoaded, useTalk } from "../ui";

/** What one may ask of the service about oneself: one's data, that it stops, and objections (P22, P23). */
export function Rights() {
  const { client, state } = useTalk();
  const exporting = useAction();
  const frozen = state.account?.restrictedAt ?? null;
  return (
    <section class="card stack" aria-labelledby="rights">
      <h2 id="rights">{t("My data")}</h2>
      <div><button type="button" disabled={exporting.busy} onClick={() => void exporting.run(async () => { download(await client.exportData(), "kloudtalk-export.zip"); })}>{t("Download my data")}</button></div>
      <p class="soft small">{t("Everything that this server stores about you, as one archive that programs can read. Names and numbers of your contacts are in it as they are stored: encrypted.")}</p>
      <Failure error={exporting.error} />
      {frozen === null ? (
        <>
          <Confirmed label={t("Freeze my account")} question={t("Freeze your account? Nothing is deleted, and nothing is done with it: nobody can call you, you disappear from your contacts’ lists, and you cannot call. You can unfreeze it at any time.")} yes={t("Freeze account")} action={() => client.restrict(true)} />
          <Objections />
        </>
      ) : null}
    </section>
  );
}

/** Finds out whether the account is frozen or blocked: such an account has no connection that would tell. */
export function useFrozen(): boolean {
  const { client, state } = useTalk();
  const { status, cause } = state.connection;
  useEffect(() => { if (status === "waiting" && (state.account === null || cause === "shut_out")) client.refreshAccount().catch(() => undefined); }, [status, cause]);
  return (state.account?.restrictedAt ?? state.account?.blockedAt ?? null) !== null;
}

const BLOCKED_FOR: Record<NonNullable<AccountState["blockedFor"]>, Message> = {
  abuse: "For harassing or threatening others, or calls that they did not want.", spam: "For spam.", fraud: "For fraud.",
  legal: "Because the law or a court demands it.", security: "Because somebody else seems to have it.", terms: "For breaking the terms of use.",
};

/** In the place of every view of a frozen or blocked account: what that means, and what works (P23). */
export function Frozen() {
  const { client, state } = useTalk();
  const { busy, error, run } = useAction();
  const exporting = useAction();
  const blocked = state.account?.blockedAt ?? null;
  const since = blocked ?? state.account?.restrictedAt ?? null;
  if (since === null) return null;
  return (
    <div class="narrow stack">
      {blocked === null
        ? <Title lead={t("Your account is frozen since {date}. Everything is kept; nothing is done with it.", { date: day(since) })}>{t("Account frozen")}</Title>
        : <Title lead={t("Who runs this server has blocked your account, since {date}.", { date: day(since) })}>{t("Account blocked")}</Title>}
      {blocked === null ? null : <p class="note warn" role="alert">{t(BLOCKED_FOR[state.account?.blockedFor ?? "terms"])} {t("If you think that this is wrong, ask support.")}</p>}
      <section class="card stack" aria-labelledby="meaning">
        <h2 id="meaning">{t("What that means")}</h2>
        <ul class="prose">
          <li>{t("Nobody can call you, and you cannot call.")}</li>
          <li>{t("To your contacts you look like somebody who is not here.")}</li>
          <li>{t("Your contacts, calls, settings and devices stay as they are, for as long as you like.")}</li>
        </ul>
        <Failure error={error} />
        {blocked === null ? <button type="button" class="primary wide" disabled={busy} onClick={() => void run(() => client.restrict(false))}>{t("Unfreeze my account")}</button> : null}
      </section>
      <section class="card stack" aria-labelledby="works">
        <h2 id="works">{t("What you can do meanwhile")}</h2>
        <div><button type="button" disabled={exporting.busy} onClick={() => void exporting.run(async () => { download(await client.exportData(), "kloudtalk-export.zip"); })}>{t("Download my data")}</button></div>
        <Failure error={exporting.error} />
        <p><a class="button" href="#/settings/support">{t("Ask support")}</a></p>
        <Confirmed label={t("Sign out here")} question={t("Sign out of this browser? Its keys are deleted. Without another device you get back in with codes to your number and address, and your contacts see new keys.")} yes={t("Sign out")} action={() => client.signOut()} />
        <DeleteAccount />
      </section>
      <p><a href="#/policy">{t("Privacy policy")}</a></p>
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

/** Answers of support that nobody has read yet (P27). */
export function Answers() {
  const { state } = useTalk();
  if (state.unreadAnswers === 0 || location.hash.startsWith("#/settings/support")) return null;
  return (
    <div class="note" role="region" aria-label={t("Support")}>
      <div class="grow"><p role="status">{t("Support has answered you.")}</p><a href="#/settings/support">{t("Read the answer")}</a></div>
    </div>
  );
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
