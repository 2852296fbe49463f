import { useEffect, useState } from "preact/hooks";
import { useAction } from "../../../common/parts";
import { ask } from "../api";
import { Failure, Table, Title } from "../ui";
import type { AuditEntry, AuditPage, AuditVerification } from "../wire";
import { when } from "../words";

/** What operators did. */
export function Audit() {
  const [pages, setPages] = useState<AuditPage[]>([]);
  const [checked, setChecked] = useState<AuditVerification | null>(null);
  const { busy, error, run } = useAction();
  const load = (before: number | undefined, kept: AuditPage[]) =>
    void run(async () => setPages([...kept, await ask<AuditPage>("GET", before === undefined ? "/audit" : `/audit?before=${before}`)]));
  useEffect(() => load(undefined, []), []);
  const next = pages.at(-1)?.next;
  return (
    <div class="stack">
      <Title lead="What operators did, when, and why. Nobody can change it through the service.">Audit trail</Title>
      <div class="row">
        <button type="button" disabled={busy} onClick={() => void run(async () => setChecked(await ask<AuditVerification>("GET", "/audit/verification")))}>Check that it is whole</button>
        <button type="button" class="plain" disabled={busy} onClick={() => load(undefined, [])}>Reload</button>
      </div>
      <div role="status">
        {checked === null ? null : checked.whole
          ? <p class="note">All {checked.entries} entries are what was written. Head: <code class="wrap">{checked.head}</code></p>
          : <p class="note bad">Entry {checked.broken_at} is not what was written, or the one before it is missing.</p>}
      </div>
      <Failure error={error} />
      <section class="card">
        <Table label="Audit trail" columns={["When", "Who", "What", "About", "Why"]} empty={busy ? "Loading…" : "Nothing yet."} rows={pages.flatMap((page) => page.entries).map((entry) => ({
          key: String(entry.seq), cells: [when(entry.at), entry.via ? `${entry.operator} (token)` : entry.operator, entry.action.replaceAll("_", " "), <About entry={entry} />, entry.reason ?? ""],
        }))} />
        {next === undefined ? null : <button type="button" disabled={busy} onClick={() => load(next, pages)}>Show more</button>}
      </section>
    </div>
  );
}

function About({ entry: { action, subject = "" } }: { entry: AuditEntry }) {
  if (subject === "") return <>–</>;
  const href = action.startsWith("account_") ? `#/accounts/${subject}` : action.startsWith("call_") ? `#/calls/${subject}` : action.startsWith("ticket_") ? `#/desk/tickets/${subject}` : null;
  const shown = <code class="wrap" title={subject}>{subject.length > 20 ? subject.slice(0, 8) : subject}</code>;
  return href === null ? shown : <a href={href}>{shown}</a>;
}
