import type { AccountState } from "@kloudtalk/sdk";
import { useRef, useState } from "preact/hooks";
import { t } from "../i18n";
import { Icon } from "../icons";
import { Avatar, Confirmed, day, Failure, Field, Modal, sentence, useAction, useTalk } from "../ui";

/** The user's own profile: what contacts see, and number and address, which a change needs two codes for (P03, P15). */
export function ProfileSettings() {
  const { state } = useTalk();
  const { account } = state;
  const [changing, setChanging] = useState<"phone" | "email" | null>(null);
  return (
    <section class="card stack" aria-labelledby="account">
      <h2 id="account">{t("Profile")}</h2>
      {account === null ? <p class="soft" role="status">{t("Loading…")}</p> : (
        <>
          <PictureField account={account} />
          <Texts key={account.account} account={account} />
          <p class="soft small">{t("Seen by people whose number you have and who have yours. All of it is optional.")}</p>
          <dl class="lines">
            <dt>{t("Number")}</dt><dd><bdi dir="ltr">{account.phone}</bdi></dd><dd><button type="button" class="plain" aria-label={t("Change the number")} onClick={() => setChanging("phone")}>{t("Change")}</button></dd>
            <dt>{t("E-mail")}</dt><dd>{account.email}</dd><dd><button type="button" class="plain" aria-label={t("Change the e-mail address")} onClick={() => setChanging("email")}>{t("Change")}</button></dd>
            <dt>{t("Since")}</dt><dd>{day(account.createdAt)}</dd>
          </dl>
        </>
      )}
      {changing !== null && account !== null ? <ChangeContact channel={changing} account={account} close={() => setChanging(null)} /> : null}
    </section>
  );
}

function PictureField({ account }: { account: AccountState }) {
  const { client } = useTalk();
  const { busy, error, run } = useAction();
  const file = useRef<HTMLInputElement>(null);
  return (
    <>
      <div class="row">
        <Avatar name={account.name ?? account.phone} big account={account.account} pictureChangedAt={account.pictureChangedAt} />
        <div class="stack tight">
          <button type="button" disabled={busy} onClick={() => file.current?.click()}>{busy ? t("Sending…") : account.pictureChangedAt === null ? t("Choose a picture") : t("Another picture")}</button>
          {account.pictureChangedAt === null ? null : <Confirmed label={t("Remove picture")} question={t("Remove your picture?")} yes={t("Remove picture")} action={() => client.removePicture()} />}
        </div>
        <input ref={file} type="file" class="visually-hidden" aria-label={t("Picture file")} tabIndex={-1} accept="image/jpeg,image/png,image/webp,image/gif"
          onChange={(event) => { const [chosen] = event.currentTarget.files ?? []; if (chosen) void run(() => client.setPicture(chosen)); event.currentTarget.value = ""; }} />
      </div>
      <Failure error={error} />
    </>
  );
}

function Texts({ account }: { account: AccountState }) {
  const { client } = useTalk();
  const { busy, error, run } = useAction();
  const [name, setName] = useState(account.name ?? "");
  const [about, setAbout] = useState(account.about ?? "");
  const changed = name.trim() !== (account.name ?? "") || about.trim() !== (account.about ?? "");
  function submit(event: Event) {
    event.preventDefault();
    void run(() => client.changeProfile({ ...(name.trim() === (account.name ?? "") ? {} : { name }), ...(about.trim() === (account.about ?? "") ? {} : { about }) }));
  }
  return (
    <form class="stack" noValidate onSubmit={submit}>
      <Field label={t("Name")}>{(field) => <input {...field} type="text" autocomplete="name" maxLength={64} value={name} onInput={(event) => setName(event.currentTarget.value)} />}</Field>
      <Field label={t("About")} hint={account.aboutChangedAt === null ? undefined : t("Changed {date}", { date: day(account.aboutChangedAt) })}>
        {(field) => <input {...field} type="text" maxLength={140} value={about} onInput={(event) => setAbout(event.currentTarget.value)} />}
      </Field>
      <Failure error={error} />
      <button type="submit" class="primary" disabled={busy || !changed}>{busy ? t("Saving…") : changed ? t("Save") : t("Saved")}</button>
    </form>
  );
}

function ChangeContact({ channel, account, close }: { channel: "phone" | "email"; account: AccountState; close: () => void }) {
  const { client } = useTalk();
  const { busy, error, code: problem, run } = useAction();
  const [to, setTo] = useState("");
  const [sent, setSent] = useState<string | null>(null);
  const [codes, setCodes] = useState({ code: "", confirmation: "" });
  const title = channel === "phone" ? t("Change the number") : t("Change the e-mail address");
  const digits = (text: string) => text.replace(/\D/gu, "");
  const place = problem !== null && /^(phone|email)_/u.test(problem) ? sentence(error) : null;
  function begin(event: Event) {
    event.preventDefault();
    void run(async () => setSent((await client.startContactChange(channel, to.trim())).to));
  }
  function finish(event: Event) {
    event.preventDefault();
    void run(() => client.finishContactChange(channel, digits(codes.code), digits(codes.confirmation))).then((done) => { if (done) close(); });
  }
  return (
    <Modal label={title} kind="sheet" onCancel={close}>
      {sent === null ? (
        <form class="card stack" noValidate onSubmit={begin}>
          <h2>{title}</h2>
          <p class="soft">{channel === "phone"
            ? t("Two codes are sent: one to the new number, and one to {other}, to be sure that it is you.", { other: account.email })
            : t("Two codes are sent: one to the new e-mail address, and one to {other}, to be sure that it is you.", { other: account.phone })}</p>
          <Field label={channel === "phone" ? t("New number, with its country code") : t("New e-mail address")} error={place}>
            {(field) => channel === "phone"
              ? <input {...field} type="tel" autocomplete="tel" value={to} onInput={(event) => setTo(event.currentTarget.value)} />
              : <input {...field} type="email" autocomplete="email" value={to} onInput={(event) => setTo(event.currentTarget.value)} />}
          </Field>
          {channel === "phone" ? <p class="soft small">{t("People who have only your old number will not find you by it any more. Tell them the new one.")}</p> : null}
          <Failure error={place === null ? error : null} />
          <button type="submit" class="primary wide" disabled={busy || to.trim() === ""}>{busy ? t("Sending…") : t("Send the codes")}</button>
          <button type="button" class="wide" onClick={close}>{t("Cancel")}</button>
        </form>
      ) : (
        <form class="card stack" noValidate onSubmit={finish}>
          <h2>{title}</h2>
          <Field label={t("Code sent to {to}", { to: sent })}>
            {(field) => <input {...field} class="code" type="text" inputMode="numeric" autocomplete="one-time-code" maxLength={12} value={codes.code} onInput={(event) => setCodes({ ...codes, code: event.currentTarget.value })} />}
          </Field>
          <Field label={t("Code sent to {to}", { to: channel === "phone" ? account.email : account.phone })}>
            {(field) => <input {...field} class="code" type="text" inputMode="numeric" autocomplete="off" maxLength={12} value={codes.confirmation} onInput={(event) => setCodes({ ...codes, confirmation: event.currentTarget.value })} />}
          </Field>
          {error !== null ? <p class="error" role="alert"><Icon name="warning" /><span>{sentence(error)}</span></p> : null}
          <button type="submit" class="primary wide" disabled={busy || digits(codes.code).length !== 6 || digits(codes.confirmation).length !== 6}>{t("Change it")}</button>
          <button type="button" class="wide" onClick={close}>{t("Cancel")}</button>
        </form>
      )}
    </Modal>
  );
}
