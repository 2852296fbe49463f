import { useState } from "preact/hooks";
import { Field, useAction, useLoaded } from "../../../common/parts";
import { ask } from "../api";
import { Account, Failure, Loading, Reasoned, Table, Title, useMay } from "../ui";
import type { AccountInfo, BlockedAccounts, BlockedFor, RevealedAccount } from "../wire";
import { BLOCKED_FOR, when } from "../words";

/** Look an account up by number or address; those that are blocked. */
export function Accounts() {
  const mayLookUp = useMay("accounts.look_up");
  const [sought, setSought] = useState("");
  const { busy, error, run } = useAction();
  const blocked = useLoaded(() => ask<BlockedAccounts>("GET", "/accounts/blocked"));
  return (
    <div class="stack">
      <Title lead="Accounts have pseudonyms here. Who is behind one is shown for a reason, which stays on the audit trail.">Accounts</Title>
      {mayLookUp ? (
        <section class="card stack">
          <h2>Look up</h2>
          <form class="stack" onSubmit={(event) => {
            event.preventDefault();
            const text = sought.trim();
            void run(async () => {
              const found = await ask<AccountInfo>("POST", "/accounts/lookup", text.includes("@") ? { email: text } : { phone: text });
              location.hash = `#/accounts/${found.account}`;
            });
          }}>
            <Field label="Number or address" hint="As the person gave it, the number with its country code. That you looked is on the audit trail; what you typed is not.">
              {(a) => <input {...a} required spellcheck={false} autocomplete="off" value={sought} onInput={(e) => setSought(e.currentTarget.value)} />}
            </Field>
            <Failure error={error} />
            <div><button type="submit" class="primary" disabled={busy}>Look up</button></div>
          </form>
        </section>
      ) : null}
      <section class="card stack">
        <h2>Blocked</h2>
        {blocked.value === null ? <Loading error={blocked.error} /> : (
          <Table label="Blocked accounts" columns={["Account", "Since", "For"]} empty="No account is blocked." rows={blocked.value.accounts.map((one) => ({
            key: one.account, cells: [<Account pseudonym={one.account} />, one.blocked_at === undefined ? "–" : when(one.blocked_at), one.blocked_for === undefined ? "–" : BLOCKED_FOR[one.blocked_for]],
          }))} />
        )}
      </section>
    </div>
  );
}

/** One account: what is known of it without saying who it is; reveal, block. */
export function AccountView({ pseudonym }: { pseudonym: string }) {
  const [mayReveal, mayBlock] = [useMay("accounts.reveal"), useMay("accounts.block")];
  const { value: account, error, again } = useLoaded(() => ask<AccountInfo>("GET", `/accounts/${pseudonym}`));
  const [who, setWho] = useState<RevealedAccount | null>(null);
  const [cause, setCause] = useState<BlockedFor>("terms");
  const back = <><a href="#/accounts">Accounts</a> · <code class="wrap">{pseudonym}</code></>;
  if (account === null) return <div class="stack"><Title lead={back}>Account</Title><Loading error={error} /></div>;
  return (
    <div class="stack">
      <Title lead={back}>Account</Title>
      {account.blocked_at === undefined ? null : <p class="note bad">Blocked since {when(account.blocked_at)}{account.blocked_for === undefined ? "" : `: ${BLOCKED_FOR[account.blocked_for].toLowerCase()}`}.</p>}
      <section class="card stack">
        <dl>
          <dt>Created</dt><dd>{when(account.created_at)}</dd>
          <dt>Country</dt><dd>{account.country}</dd>
          <dt>Devices</dt><dd>{account.devices}</dd>
          {account.business === true ? <><dt>Kind</dt><dd>Business</dd></> : null}
          {account.restricted_at === undefined ? null : <><dt>Frozen by its owner</dt><dd>{when(account.restricted_at)}</dd></>}
          {who === null ? null : <><dt>Number</dt><dd>{who.phone}</dd><dt>Address</dt><dd>{who.email}</dd>{who.name === undefined ? null : <><dt>Name</dt><dd>{who.name}</dd></>}</>}
        </dl>
        <div class="row">
          <a class="button" href={`#/calls/of/${pseudonym}`}>Calls</a>
          {mayReveal && who === null ? (
            <Reasoned label="Reveal" danger={false} yes="Show who this is" question="Number, address and name of this account are shown to you. Your reason stays on the audit trail."
              action={async (reason) => setWho(await ask<RevealedAccount>("POST", `/accounts/${pseudonym}/reveal`, { reason }))} />
          ) : null}
          {who === null ? null : <button type="button" class="plain" onClick={() => setWho(null)}>Hide again</button>}
          {!mayBlock ? null : account.blocked_at === undefined ? (
            <Reasoned label="Block" yes="Block the account" question="Its calls end, and it has its rights only: to export and delete its data. It is told what it is blocked for, not your reason."
              action={async (reason) => { await ask("POST", `/accounts/${pseudonym}/block`, { blocked_for: cause, reason }); again(); }}>
              <Field label="Blocked for" hint="The user is told this.">{(a) => (
                <select {...a} value={cause} onChange={(e) => setCause(e.currentTarget.value as BlockedFor)}>{Object.entries(BLOCKED_FOR).map(([value, name]) => <option key={value} value={value}>{name}</option>)}</select>
              )}</Field>
            </Reasoned>
          ) : (
            <Reasoned label="Unblock" danger={false} yes="Unblock the account" question="It can call and be called again."
              action={async (reason) => { await ask("POST", `/accounts/${pseudonym}/unblock`, { reason }); again(); }} />
          )}
        </div>
      </section>
    </div>
  );
}
