import { KloudTalkError } from "@kloudtalk/sdk";
import { useId, useState } from "preact/hooks";
import { CountrySelect, international, likelyCountry } from "../countries";
import { language, t } from "../i18n";
import { Icon } from "../icons";
import { clock, deviceName, Failure, Field, sentence, Title, useAction, useLoaded, useNow, useTalk } from "../ui";
import { PolicyBox } from "./policy";

type Channel = "phone" | "email";

export function Register() {
  const { state } = useTalk();
  const registration = state.registration;
  if (state.phase !== "registering" || registration === null) return <Start />;
  return registration.phoneVerified && registration.emailVerified ? <Finish /> : <Codes />;
}

function Start() {
  const { client } = useTalk();
  const policy = useLoaded(() => client.policy(language()), language());
  const { busy, error, code, run } = useAction();
  const [country, setCountry] = useState(likelyCountry);
  const [phone, setPhone] = useState("");
  const [email, setEmail] = useState("");
  const [read, setRead] = useState(false);
  const [unread, setUnread] = useState(false);
  const countryId = useId();
  const place = code === null ? null : code.startsWith("phone_") ? "phone" : code.startsWith("email_") ? "email" : code === "policy_not_acknowledged" ? "policy" : null;

  async function begin(policyVersion: string) {
    await client.startRegistration({ phone: international(phone, country), email: email.trim(), policyVersion }); // sends both codes
  }
  function submit(event: Event) {
    event.preventDefault();
    setUnread(!read);
    if (read && policy.value) {
      const { version } = policy.value;
      void run(() => begin(version).catch((failure: unknown) => {
        if (failure instanceof KloudTalkError && failure.code === "policy_not_acknowledged") {
          setRead(false);
          policy.again(); // it changed since it was loaded
        }
        throw failure;
      }));
    }
  }
  return (
    <form class="narrow stack" noValidate onSubmit={submit}>
      <Title lead={t("Both your number and your address are checked with a code.")}>{t("Create an account")}</Title>
      <div class="card stack">
        <div class="field">
          <label for={countryId}>{t("Country")}</label>
          <CountrySelect id={countryId} value={country} onChange={setCountry} />
        </div>
        <Field label={t("Phone number")} hint={t("Your friends find you by it.")} error={place === "phone" ? sentence(error) : null}>
          {(field) => <input {...field} type="tel" autocomplete="tel" required value={phone} onInput={(event) => setPhone(event.currentTarget.value)} />}
        </Field>
        <Field label={t("E-mail address")} hint={t("To get your account back if you lose your devices.")} error={place === "email" ? sentence(error) : null}>
          {(field) => <input {...field} type="email" autocomplete="email" required value={email} onInput={(event) => setEmail(event.currentTarget.value)} />}
        </Field>
      </div>
      <div class="card stack">
        <h2>{t("Privacy policy")}</h2>
        <Failure error={policy.error} />
        {policy.error !== null ? <button type="button" onClick={policy.again}>{t("Load the policy again")}</button> : null}
        {policy.value ? <PolicyBox policy={policy.value} /> : policy.error === null ? <p class="soft" role="status">{t("Loading…")}</p> : null}
        <label class="check">
          <input type="checkbox" checked={read} onChange={(event) => { setRead(event.currentTarget.checked); setUnread(false); }} />
          <span>{t("I have read the privacy policy")}</span>
        </label>
        <div role="alert">
          {unread ? <p class="error"><Icon name="warning" /><span>{t("Please read the policy and tick the box.")}</span></p> : null}
          {place === "policy" ? <p class="error"><Icon name="warning" /><span>{sentence(error)}</span></p> : null}
        </div>
      </div>
      <Failure error={place === null ? error : null} />
      <button type="submit" class="primary wide" disabled={busy || policy.value === null}>{busy ? t("Sending…") : t("Send the codes")}</button>
      <p><a href="#/">{t("Back")}</a></p>
    </form>
  );
}

function Codes() {
  const { client, state } = useTalk();
  const { error, run } = useAction();
  const now = useNow();
  const registration = state.registration;
  if (registration === null) return null;
  const expired = registration.expiresAt <= now;
  return (
    <div class="narrow stack">
      <Title lead={t("Two codes of six digits are on their way. They hold for ten minutes.")}>{t("Enter your codes")}</Title>
      {expired ? <p class="note warn" role="alert"><Icon name="clock" />{t("This registration took too long. Please start again.")}</p> : null}
      <CodeForm channel="phone" to={registration.phone} verified={registration.phoneVerified} resendAt={registration.resendAt.phone} now={now} />
      <CodeForm channel="email" to={registration.email} verified={registration.emailVerified} resendAt={registration.resendAt.email} now={now} />
      <Failure error={error} />
      <button type="button" class="plain" onClick={() => void run(() => client.cancelRegistration())}>{t("Start again")}</button>
    </div>
  );
}

interface CodeFormProps { channel: Channel; to: string; verified: boolean; resendAt: number | null; now: number }
function CodeForm({ channel, to, verified, resendAt, now }: CodeFormProps) {
  const { client } = useTalk();
  const { busy, error, run } = useAction(); // one for both: once a new code was asked for, what was wrong with the one before says nothing
  const [code, setCode] = useState("");
  if (verified) return <div class="note" role="status"><Icon name="shield" /><span class="wrap">{channel === "phone" ? t("Phone number confirmed: {to}", { to }) : t("E-mail address confirmed: {to}", { to })}</span></div>;
  const wait = resendAt === null ? 0 : resendAt - now;
  function submit(event: Event) {
    event.preventDefault();
    void run(() => client.verifyCode(channel, code.replace(/\D/gu, "")));
  }
  return (
    <form class="card stack" noValidate onSubmit={submit}>
      <Field label={channel === "phone" ? t("Code from the text message") : t("Code from the e-mail")} hint={t("Sent to {to}", { to })} error={error === null ? null : sentence(error)}>
        {(field) => <input {...field} class="code" type="text" inputMode="numeric" autocomplete="one-time-code" maxLength={12} value={code} onInput={(event) => setCode(event.currentTarget.value)} />}
      </Field>
      <div class="row">
        <button type="submit" class="primary grow" disabled={busy || code.replace(/\D/gu, "").length !== 6}>{channel === "phone" ? t("Confirm phone number") : t("Confirm e-mail address")}</button>
        <button type="button" class="plain" disabled={busy || wait > 0}
          onClick={() => { setCode(""); void run(() => client.sendCode(channel)); }}>
          {channel === "phone" ? t("New text message") : t("New e-mail")}{wait > 0 ? ` ${t("in {time}", { time: clock(wait + 999) })}` : ""}
        </button>
      </div>
    </form>
  );
}

function Finish() {
  const { client } = useTalk();
  const { busy, error, run } = useAction();
  const [name, setName] = useState(deviceName);
  function submit(event: Event) {
    event.preventDefault();
    void run(() => client.finishRegistration(name.trim()));
  }
  return (
    <form class="narrow stack" noValidate onSubmit={submit}>
      <Title lead={t("Number and address are confirmed. This browser now makes its keys.")}>{t("Name this device")}</Title>
      <div class="card stack">
        <Field label={t("Device name")} hint={t("Only you see it, in your list of devices.")}>
          {(field) => <input {...field} type="text" maxLength={40} value={name} onInput={(event) => setName(event.currentTarget.value)} />}
        </Field>
        <Failure error={error} />
        <button type="submit" class="primary wide" disabled={busy || name.trim() === ""}>{busy ? t("Making keys…") : t("Finish")}</button>
        {error !== null ? <button type="button" class="plain" onClick={() => void run(() => client.cancelRegistration())}>{t("Start again")}</button> : null}
      </div>
    </form>
  );
}
