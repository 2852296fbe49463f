import { useEffect, useLayoutEffect, useState } from "preact/hooks";
import { Field, useAction, useLoaded } from "../../../common/parts";
import { ask, remember } from "../api";
import { havePasskeys, signInWithPasskey } from "../passkeys";
import { Failure } from "../ui";
import type { Enrolment, SignedInOperator, SignInWays } from "../wire";
import { ROLES } from "../words";

function Front({ title, children }: { title: string; children: preact.ComponentChildren }) {
  useLayoutEffect(() => { document.title = `${title} – KloudTalk operators`; }, [title]);
  return (
    <main class="shell bare narrow stack front">
      <span class="brand"><img src="/operator/icon.svg" alt="" />KloudTalk <span class="soft">operators</span></span>
      <div class="card stack"><h1>{title}</h1>{children}</div>
    </main>
  );
}

export function SignIn({ done }: { done: () => void }) {
  const [operator, setOperator] = useState("");
  const [password, setPassword] = useState("");
  const [code, setCode] = useState("");
  const { busy, error, run } = useAction();
  const ways = useLoaded(() => ask<SignInWays>("GET", "/login"));
  const [refused] = useState(() => /^#refused=(\w+)$/u.exec(location.hash)?.[1] ?? null); // how the single sign-on ended
  useEffect(() => { if (refused !== null) history.replaceState(null, "", "#/"); }, [refused]);
  return (
    <Front title="Sign in">
      {refused !== null ? <p class="note bad" role="alert">{refused === "unavailable" ? "The single sign-on does not answer. Try again in a moment." : "The single sign-on did not let you in."}</p> : null}
      <form class="stack" onSubmit={(event) => {
        event.preventDefault();
        void run(async () => { remember(await ask<SignedInOperator>("POST", "/login", { operator, password, code })); }).then((ok) => { setCode(""); if (ok) done(); });
      }}>
        <Field label="Name">{(a) => <input {...a} autocomplete="username" autocapitalize="none" spellcheck={false} required maxLength={64} value={operator} onInput={(e) => setOperator(e.currentTarget.value)} />}</Field>
        <Field label="Password">{(a) => <input {...a} type="password" autocomplete="current-password" required maxLength={256} value={password} onInput={(e) => setPassword(e.currentTarget.value)} />}</Field>
        <Field label="Code" hint="6 digits of your authenticator app">{(a) => <input {...a} class="code" inputMode="numeric" autocomplete="one-time-code" required pattern="[0-9]{6}" maxLength={6} value={code} onInput={(e) => setCode(e.currentTarget.value)} />}</Field>
        <Failure error={error} />
        <button type="submit" class="primary wide" disabled={busy}>Sign in</button>
      </form>
      {havePasskeys ? <button type="button" class="wide" disabled={busy} onClick={() => void run(signInWithPasskey).then((ok) => { if (ok) done(); })}>Use a passkey</button> : null}
      {ways.value?.single_sign_on === undefined ? null : <a class="button wide" href="/v1/admin/login/oidc">{ways.value.single_sign_on}</a>}
      <p class="soft small">You were invited? <a href="#/enrol">Set up your access</a>.</p>
    </Front>
  );
}

/** `#enrol`: an invited operator chooses a password and takes the second factor. */
export function Enrol({ done }: { done: () => void }) {
  const [operator, setOperator] = useState("");
  const [code, setCode] = useState("");
  const [begun, setBegun] = useState<Enrolment | null>(null);
  const [password, setPassword] = useState("");
  const [totp, setTotp] = useState("");
  const { busy, error, run } = useAction();
  useEffect(() => { scrollTo(0, 0); }, [begun]);
  if (begun === null) {
    return (
      <Front title="Set up your access">
        <form class="stack" onSubmit={(event) => {
          event.preventDefault();
          void run(async () => setBegun(await ask<Enrolment>("POST", "/enrolment", { operator, code: code.trim() })));
        }}>
          <Field label="Name">{(a) => <input {...a} autocomplete="username" autocapitalize="none" spellcheck={false} required maxLength={32} value={operator} onInput={(e) => setOperator(e.currentTarget.value)} />}</Field>
          <Field label="Invitation" hint="64 characters; whoever invited you has them">{(a) => <input {...a} autocomplete="off" spellcheck={false} required value={code} onInput={(e) => setCode(e.currentTarget.value)} />}</Field>
          <Failure error={error} />
          <button type="submit" class="primary wide" disabled={busy}>Go on</button>
        </form>
        <p class="small"><a href="#/">Sign in instead</a></p>
      </Front>
    );
  }
  return (
    <Front title="Password and second factor">
      <p class="soft">{ROLES[begun.role]}.</p>
      <div class="stack">
        <p>Scan this with an authenticator app, or type the secret into it.</p>
        <img class="qr" src={begun.totp_qr} alt="QR code of the secret below, for an authenticator app" />
        <p><code class="wrap">{begun.totp_secret}</code></p>
      </div>
      <form class="stack" onSubmit={(event) => {
        event.preventDefault();
        void run(async () => { remember(await ask<SignedInOperator>("PUT", "/enrolment", { operator, code: code.trim(), password, totp_code: totp })); })
          .then((ok) => { if (ok) { location.replace("#/"); done(); } });
      }}>
        <input type="text" name="username" autocomplete="username" value={operator} hidden readOnly />
        <Field label="Code" hint="6 digits that the app shows now">{(a) => <input {...a} class="code" inputMode="numeric" autocomplete="one-time-code" required pattern="[0-9]{6}" maxLength={6} value={totp} onInput={(e) => setTotp(e.currentTarget.value)} />}</Field>
        <Field label="Password" hint="12 characters or more; a few words that do not belong together are best">{(a) => <input {...a} type="password" autocomplete="new-password" required minLength={8} maxLength={256} value={password} onInput={(e) => setPassword(e.currentTarget.value)} />}</Field>
        <Failure error={error} />
        <button type="submit" class="primary wide" disabled={busy}>Finish</button>
      </form>
    </Front>
  );
}
