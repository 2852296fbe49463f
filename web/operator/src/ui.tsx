/** Parts of the operators' page. */
import { createContext, type ComponentChildren } from "preact";
import { useContext, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Field, Modal, Problem, useAction } from "../../common/parts";
import type { Live } from "./api";
import type { Me, Permission } from "./wire";
import { sentence, short } from "./words";

export interface Context { readonly me: Me; readonly live: Live; readonly leave: () => void; readonly refresh: () => void }
export const Signed = createContext<Context | null>(null);

export function useSigned(): Context {
  const context = useContext(Signed);
  if (context === null) throw new Error("useSigned outside of <Signed.Provider>");
  return context;
}

export function useMay(permission: Permission): boolean {
  return useSigned().me.signed_in.permissions.includes(permission);
}

/** Heading of a view. Takes the focus, so that keyboard and screen reader users land in the new view. */
export function Title({ children, lead }: { children: string; lead?: ComponentChildren }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useLayoutEffect(() => {
    heading.current?.focus({ preventScroll: true });
    document.title = `${children} – KloudTalk operators`;
  }, [children]);
  return <div class="head"><h1 ref={heading} tabIndex={-1}>{children}</h1>{lead ? <p class="soft">{lead}</p> : null}</div>;
}

/** Always in the page, so that a screen reader hears when it is filled. */
export function Failure({ error }: { error: unknown }) {
  return <div role="alert">{error === null ? null : <Problem>{sentence(error)}</Problem>}</div>;
}

/** An account. Its pseudonym is long: eight characters tell accounts on a screen apart, the whole of it is in the title and behind the link. */
export function Account({ pseudonym }: { pseudonym: string }) {
  const may = useMay("accounts.read");
  const shown = <code title={pseudonym}>{short(pseudonym)}</code>;
  return may ? <a href={`#/accounts/${pseudonym}`}>{shown}</a> : shown;
}

export function CallLink({ call }: { call: string }) {
  return <a href={`#/calls/${call}`}><code title={call}>{short(call)}</code></a>;
}

interface ReasonedProps { label: string; name?: string; question: ComponentChildren; yes: string; action: (reason: string) => Promise<unknown>; danger?: boolean; children?: ComponentChildren }
/** A button that asks why before it acts: the reason is kept on the audit trail. */
export function Reasoned({ label, name, question, yes, action, danger = true, children }: ReasonedProps) {
  const [asking, setAsking] = useState(false);
  const [reason, setReason] = useState("");
  const { busy, error, run } = useAction();
  function close() {
    setAsking(false);
    setReason("");
  }
  return (
    <>
      <button type="button" class={danger ? "plain risk" : "plain"} aria-label={name} onClick={() => setAsking(true)}>{label}</button>
      {asking ? (
        <Modal label={yes} kind="sheet" onCancel={close}>
          <form class="card stack" onSubmit={(event) => { event.preventDefault(); void run(() => action(reason)).then((done) => { if (done) close(); }); }}>
            <p>{question}</p>
            {children}
            <Field label="Reason" hint="Kept on the audit trail for years. Name nobody: no number, no address; a ticket's id is fine.">
              {(attributes) => <input {...attributes} type="text" minLength={3} maxLength={200} required value={reason} onInput={(e) => setReason(e.currentTarget.value)} />}
            </Field>
            <Failure error={error} />
            <button type="submit" class={danger ? "danger wide" : "primary wide"} disabled={busy}>{yes}</button>
            <button type="button" class="wide" onClick={close}>Cancel</button>
          </form>
        </Modal>
      ) : null}
    </>
  );
}

/** A button that asks before it acts. */
export function Confirmed({ label, name, question, yes, action }: { label: string; name?: string; question: string; yes: string; action: () => Promise<unknown> }) {
  const [asking, setAsking] = useState(false);
  const { busy, error, run } = useAction();
  return (
    <>
      <button type="button" class="plain risk" aria-label={name} onClick={() => setAsking(true)}>{label}</button>
      {asking ? (
        <Modal label={yes} kind="sheet" onCancel={() => setAsking(false)}>
          <div class="card stack">
            <p>{question}</p>
            <Failure error={error} />
            <button type="button" class="danger wide" disabled={busy} onClick={() => void run(action).then((done) => { if (done) setAsking(false); })}>{yes}</button>
            <button type="button" class="wide" onClick={() => setAsking(false)}>Cancel</button>
          </div>
        </Modal>
      ) : null}
    </>
  );
}

/** A number with what it is. */
export function Figure({ label, value, note, bad = false }: { label: string; value: ComponentChildren; note?: string; bad?: boolean }) {
  return <div class={bad ? "figure bad" : "figure"}><span class="label">{label}</span><strong>{value}</strong>{note === undefined ? null : <span class="note-line">{note}</span>}</div>;
}

export function Loading({ error }: { error: unknown }) {
  return error === null ? <p class="soft" role="status">Loading…</p> : <Failure error={error} />;
}

/** A table that becomes a list of cards on a phone: each cell says its column there. The roles keep it a table for who cannot see it. */
export function Table({ label, columns, rows, empty }: { label: string; columns: string[]; rows: { key: string; cells: ComponentChildren[] }[]; empty: string }) {
  if (rows.length === 0) return <p class="soft">{empty}</p>;
  return (
    <table role="table" aria-label={label}>
      <thead role="rowgroup"><tr role="row">{columns.map((column) => <th key={column} role="columnheader" scope="col">{column}</th>)}</tr></thead>
      <tbody role="rowgroup">
        {rows.map(({ key, cells }) => <tr key={key} role="row">{cells.map((cell, i) => <td key={columns[i]} role="cell" data-label={columns[i]}>{cell}</td>)}</tr>)}
      </tbody>
    </table>
  );
}
