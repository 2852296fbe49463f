import { useState } from "preact/hooks";
import { Field, useAction, useLoaded } from "../../../common/parts";
import { ask } from "../api";
import { Confirmed, Failure, Loading, Title, useMay, useSigned } from "../ui";
import type { Invitation, NewToken, OperatorInfo, OperatorList, Permission, Role, TokenList } from "../wire";
import { ROLES, when } from "../words";

/** Operators and tokens. */
export function Operators() {
  const { me } = useSigned();
  const { value, error, again } = useLoaded(() => ask<OperatorList>("GET", "/operators"));
  const [invited, setInvited] = useState<Invitation | null>(null);
  return (
    <div class="stack">
      <Title>Operators</Title>
      {invited === null ? null : <Invited invitation={invited} />}
      <section class="card stack">
        {value === null ? <Loading error={error} /> : (
          <ul class="list">
            {value.operators.map((one) => <li key={one.operator}><Line one={one} self={one.operator === me.signed_in.operator} again={again} invited={setInvited} /></li>)}
          </ul>
        )}
      </section>
      <Add added={(invitation) => { setInvited(invitation); again(); }} />
      {useMay("tokens") ? <Tokens /> : null}
    </div>
  );
}

function Line({ one, self, again, invited }: { one: OperatorInfo; self: boolean; again: () => void; invited: (invitation: Invitation) => void }) {
  const { busy, error, run } = useAction();
  const change = (body: { role?: Role; disabled?: boolean }) => ask("PATCH", `/operators/${one.operator}`, body).then(again);
  const state = one.disabled_at !== undefined ? "disabled" : !one.enrolled ? "invited" : one.single_sign_on === true ? "single sign-on" : one.passkeys ? `password, ${one.passkeys} passkeys` : "password";
  return (
    <div class="grow stack tight">
      <div class="row between"><strong>{one.operator}{self ? " (you)" : ""}</strong><span class={one.disabled_at === undefined ? "badge quiet" : "badge bad"}>{state}</span></div>
      <div class="row">
        <label class="visually-hidden" for={`role-${one.operator}`}>Role of {one.operator}</label>
        <select id={`role-${one.operator}`} class="short" value={one.role} disabled={self || busy} onChange={(e) => { const role = e.currentTarget.value as Role; void run(() => change({ role })); }}>
          {(Object.keys(ROLES) as Role[]).map((role) => <option key={role} value={role}>{role}</option>)}
        </select>
        {self ? null : (
          <>
            <Confirmed label={one.disabled_at === undefined ? "Disable" : "Enable"} name={`${one.disabled_at === undefined ? "Disable" : "Enable"} ${one.operator}`}
              yes={one.disabled_at === undefined ? "Disable" : "Enable"} question={one.disabled_at === undefined ? `${one.operator} cannot sign in any more, and is signed out at once.` : `${one.operator} can sign in again.`}
              action={() => change({ disabled: one.disabled_at === undefined })} />
            <Confirmed label="Invite anew" name={`Invite anew: ${one.operator}`} yes="Invite anew" question={`Password, authenticator, passkeys and sessions of ${one.operator} are void, and set up again with a new invitation.`}
              action={async () => { invited(await ask<Invitation>("POST", `/operators/${one.operator}/enrolment`)); again(); }} />
            <Confirmed label="Remove" name={`Remove ${one.operator}`} yes="Remove" question={`${one.operator} is removed for good; the name is not used again.`} action={() => ask("DELETE", `/operators/${one.operator}`).then(again)} />
          </>
        )}
      </div>
      <Failure error={error} />
    </div>
  );
}

function Invited({ invitation }: { invitation: Invitation }) {
  return (
    <div class="note" role="status">
      <div class="grow">
        <p>Give this to <strong>{invitation.operator}</strong>, over a way that nobody else reads. It is shown once, works once, and until {when(invitation.expires_at)}, at <code class="wrap">{location.origin}/operator/#enrol</code></p>
        <p><code class="wrap">{invitation.code}</code></p>
      </div>
    </div>
  );
}

function Add({ added }: { added: (invitation: Invitation) => void }) {
  const [operator, setOperator] = useState("");
  const [role, setRole] = useState<Role>("viewer");
  const { busy, error, run } = useAction();
  return (
    <section class="card stack">
      <h2>Invite an operator</h2>
      <form class="stack" onSubmit={(event) => {
        event.preventDefault();
        void run(async () => { added(await ask<Invitation>("POST", "/operators", { operator, role })); setOperator(""); });
      }}>
        <Field label="Name" hint="Small letters, digits, dots and dashes; it is on the audit trail">{(a) => <input {...a} required maxLength={32} autocapitalize="none" spellcheck={false} pattern="[a-z][a-z0-9.\-]{0,31}" value={operator} onInput={(e) => setOperator(e.currentTarget.value)} />}</Field>
        <Field label="Role">{(a) => <select {...a} value={role} onChange={(e) => setRole(e.currentTarget.value as Role)}>{(Object.entries(ROLES) as [Role, string][]).map(([value, name]) => <option key={value} value={value}>{name}</option>)}</select>}</Field>
        <Failure error={error} />
        <div><button type="submit" class="primary" disabled={busy}>Invite</button></div>
      </form>
    </section>
  );
}

function Tokens() {
  const { me } = useSigned();
  const { value, error, again } = useLoaded(() => ask<TokenList>("GET", "/tokens"));
  const [made, setMade] = useState<NewToken | null>(null);
  const [name, setName] = useState("");
  const [scopes, setScopes] = useState<Permission[]>(["operations.read"]);
  const { busy, error: refused, run } = useAction();
  const offered = me.signed_in.permissions.filter((permission) => permission !== "operators" && permission !== "tokens");
  return (
    <section class="card stack">
      <h2>Tokens for programs</h2>
      {made === null ? null : <div class="note" role="status"><div class="grow"><p>Shown once; a hash of it is kept.</p><p><code class="wrap">{made.token}</code></p></div></div>}
      {value === null ? <Loading error={error} /> : value.tokens.length === 0 ? <p class="soft">None.</p> : (
        <ul class="list">
          {value.tokens.map((token) => (
            <li key={token.id}><div class="grow"><strong>{token.name}</strong><span class="soft small">{token.operator}: {token.scopes.join(", ")}; until {when(token.expires_at)}; {token.used_at === undefined ? "never used" : `used ${when(token.used_at)}`}</span></div>
              <Confirmed label="Revoke" name={`Revoke ${token.name}`} yes="Revoke" question={`Programs that use the token ${token.name} are refused from now on.`} action={() => ask("DELETE", `/tokens/${token.id}`).then(again)} /></li>
          ))}
        </ul>
      )}
      <form class="stack" onSubmit={(event) => {
        event.preventDefault();
        void run(async () => { setMade(await ask<NewToken>("POST", "/tokens", { name, scopes })); setName(""); again(); });
      }}>
        <Field label="What it is for">{(a) => <input {...a} required maxLength={64} value={name} onInput={(e) => setName(e.currentTarget.value)} />}</Field>
        <fieldset><legend>It may</legend>
          <div class="scopes">{offered.map((scope) => (
            <label key={scope} class="check"><input type="checkbox" checked={scopes.includes(scope)} onChange={(e) => { const on = e.currentTarget.checked; setScopes((before) => on ? [...before, scope] : before.filter((one) => one !== scope)); }} />{scope}</label>
          ))}</div>
        </fieldset>
        <Failure error={refused} />
        <div><button type="submit" disabled={busy || scopes.length === 0}>Make a token</button></div>
      </form>
    </section>
  );
}
