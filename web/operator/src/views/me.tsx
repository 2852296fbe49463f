import { useState } from "preact/hooks";
import { Field, useAction, useLoaded } from "../../../common/parts";
import { ApiError, ask } from "../api";
import { addPasskey, havePasskeys } from "../passkeys";
import { Confirmed, Failure, Loading, Title, useSigned } from "../ui";
import type { OperatorSessions } from "../wire";
import { ROLES, when } from "../words";

/** The operator's own access. */
export function MeView() {
  const { me, refresh } = useSigned();
  const sessions = useLoaded(() => ask<OperatorSessions>("GET", "/me/sessions"));
  const { busy, error, run } = useAction();
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  return (
    <div class="stack">
      <Title lead={`${ROLES[me.signed_in.role]}. This session ends ${when(me.signed_in.expires_at)} at the latest.`}>{me.signed_in.operator}</Title>
      <SignOut />
      {me.has_password ? <Password /> : null}
      <section class="card stack">
        <h2>Passkeys</h2>
        {me.passkeys.length === 0 ? <p class="soft">None. A passkey signs you in without password and code, and only at this address.</p> : (
          <ul class="list">
            {me.passkeys.map((one) => (
              <li key={one.passkey}><div class="grow"><strong>{one.name}</strong><span class="soft small">added {when(one.created_at)}{one.used_at === undefined ? "" : `, used ${when(one.used_at)}`}</span></div>
                <Confirmed label="Remove" name={`Remove ${one.name}`} yes="Remove" question={`${one.name} signs you in no more.`} action={() => ask("DELETE", `/me/passkeys/${one.passkey}`).then(refresh)} /></li>
            ))}
          </ul>
        )}
        {havePasskeys && me.has_password ? (
          <form class="stack" onSubmit={(event) => {
            event.preventDefault();
            void run(() => addPasskey(name, password)).then((done) => { setPassword(""); if (done) { setName(""); refresh(); } });
          }}>
            <Field label="Name of the passkey" hint="So that you know it again: the device it is on">{(a) => <input {...a} required maxLength={64} value={name} onInput={(e) => setName(e.currentTarget.value)} />}</Field>
            <Field label="Your password">{(a) => <input {...a} type="password" autocomplete="current-password" required value={password} onInput={(e) => setPassword(e.currentTarget.value)} />}</Field>
            <Failure error={error} />
            <div><button type="submit" disabled={busy}>Add a passkey</button></div>
          </form>
        ) : null}
      </section>
      <section class="card stack">
        <h2>Sessions</h2>
        {sessions.value === null ? <Loading error={sessions.error} /> : (
          <ul class="list">
            {sessions.value.sessions.map((one) => (
              <li key={one.session}><div class="grow"><strong class="wrap">{one.agent || "Unknown browser"}</strong><span class="soft small">{one.method}, since {when(one.created_at)}, seen {when(one.seen_at)}</span></div>
                {one.current ? <span class="badge">this one</span> : <Confirmed label="End" yes="End the session" question="Whoever uses it is signed out." action={() => ask("DELETE", `/me/sessions/${one.session}`).then(sessions.again)} />}</li>
            ))}
          </ul>
        )}
      </section>
    </div>
  );
}

/** Who is told that they are signed out is signed out: without an answer the session goes on. */
function SignOut() {
  const { leave } = useSigned();
  const { busy, error, run } = useAction();
  async function out() {
    await ask("POST", "/logout").catch((failure: unknown) => { if (!(failure instanceof ApiError && failure.code === "unauthenticated")) throw failure; });
    leave();
  }
  return (
    <div class="stack tight">
      <div><button type="button" class="primary" disabled={busy} onClick={() => void run(out)}>Sign out</button></div>
      <Failure error={error} />
    </div>
  );
}

function Password() {
  const [password, setPassword] = useState("");
  const [code, setCode] = useState("");
  const [next, setNext] = useState("");
  const [changed, setChanged] = useState(false);
  const { busy, error, run } = useAction();
  return (
    <section class="card stack">
      <h2>Password</h2>
      <form class="stack" onSubmit={(event) => {
        event.preventDefault();
        setChanged(false);
        void run(() => ask("PUT", "/me/password", { password, code, new_password: next })).then((done) => { setCode(""); if (done) { setPassword(""); setNext(""); setChanged(true); } });
      }}>
        <Field label="Password now">{(a) => <input {...a} type="password" autocomplete="current-password" required value={password} onInput={(e) => setPassword(e.currentTarget.value)} />}</Field>
        <Field label="Code" hint="6 digits of your authenticator app">{(a) => <input {...a} class="code" inputMode="numeric" autocomplete="one-time-code" required pattern="[0-9]{6}" maxLength={6} value={code} onInput={(e) => setCode(e.currentTarget.value)} />}</Field>
        <Field label="New password">{(a) => <input {...a} type="password" autocomplete="new-password" required maxLength={256} value={next} onInput={(e) => setNext(e.currentTarget.value)} />}</Field>
        <Failure error={error} />
        <div role="status">{changed ? <p class="note">The password is changed; your other sessions are over.</p> : null}</div>
        <div><button type="submit" disabled={busy}>Change</button></div>
      </form>
    </section>
  );
}
