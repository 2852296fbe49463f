import { useState } from "preact/hooks";
import { download, Field, useAction, useLoaded } from "../../../common/parts";
import { ask } from "../api";
import { Account, Confirmed, Failure, Loading, Table, Title, useMay } from "../ui";
import type { Announcement, AttachmentContent, AttachmentInfo, CurrentAnnouncements, OperatorTicket, RequestDocument, RequestKind, TicketQueue, WrittenRequest, WrittenRequests } from "../wire";
import { when } from "../words";

/** What users asked: tickets and written requests; what they are told. */
export function Desk() {
  const [requests, news] = [useMay("requests"), useMay("announcements")];
  return (
    <div class="stack">
      <Title>Desk</Title>
      <Tickets />
      {requests ? <Requests /> : null}
      {news ? <News /> : null}
    </div>
  );
}

function Tickets() {
  const { value, error } = useLoaded(() => ask<TicketQueue>("GET", "/tickets"));
  return (
    <section class="card stack">
      <h2>Tickets</h2>
      {value === null ? <Loading error={error} /> : (
        <Table label="Tickets" columns={["Subject", "State", "Since", "From"]} empty="Nobody waits." rows={value.tickets.map((one) => ({
          key: one.ticket, cells: [<a href={`#/desk/tickets/${one.ticket}`}>{one.subject}</a>, one.state, when(one.changed_at), <Account pseudonym={one.account} />],
        }))} />
      )}
    </section>
  );
}

export function TicketView({ ticket: id }: { ticket: string }) {
  const { value: ticket, error, again } = useLoaded(() => ask<OperatorTicket>("GET", `/tickets/${id}`));
  const [text, setText] = useState("");
  const { busy, error: refused, run } = useAction();
  const back = <a href="#/desk">Desk</a>;
  if (ticket === null) return <div class="stack"><Title lead={back}>Ticket</Title><Loading error={error} /></div>;
  async function save(attachment: AttachmentInfo) {
    const found = await ask<AttachmentContent>("GET", `/tickets/${id}/attachments/${attachment.attachment}`);
    const content = Uint8Array.from(atob(found.content.replaceAll("-", "+").replaceAll("_", "/")), (character) => character.charCodeAt(0));
    // never shown in this page: what a user attached is saved, and opened elsewhere
    download(new Blob([content], { type: "application/octet-stream" }), found.name);
  }
  return (
    <div class="stack">
      <Title lead={<>{back} · from <Account pseudonym={ticket.account} />, {ticket.state}</>}>{ticket.subject}</Title>
      <ol class="messages">
        {ticket.messages.map((message, i) => (
          <li key={i} class={message.from_operator ? "card ours" : "card"}>
            <p class="soft small">{message.from_operator ? "Answer" : "User"}, {when(message.at)}</p>
            <p class="pre wrap">{message.text}</p>
            {message.attachments.length === 0 ? null : <div class="row">{message.attachments.map((one) => <button type="button" class="plain" key={one.attachment} onClick={() => void run(() => save(one))}>Save {one.name} ({Math.ceil(one.bytes / 1000)} kB)</button>)}</div>}
          </li>
        ))}
      </ol>
      <Failure error={refused} />
      {ticket.state === "closed" ? null : (
        <form class="card stack" onSubmit={(event) => { event.preventDefault(); void run(async () => { await ask("POST", `/tickets/${id}/answers`, { text }); setText(""); again(); }); }}>
          <Field label="Answer" hint="The user reads it as the service's, without your name.">{(a) => <textarea {...a} required value={text} onInput={(e) => setText(e.currentTarget.value)} />}</Field>
          <div class="row"><button type="submit" class="primary" disabled={busy}>Send</button>
            <Confirmed label="Close" yes="Close the ticket" question="It leaves the queue, and is deleted 180 days from now. A message of the user opens it again." action={() => ask("POST", `/tickets/${id}/close`).then(again)} /></div>
        </form>
      )}
    </div>
  );
}

const KINDS: Record<RequestKind, string> = { access: "Access to data", erasure: "Erasure", restriction: "Freezing", release: "Unfreezing" };
const DOCUMENTS: Record<RequestDocument, string> = { identity_document: "Identity document", in_person: "In person", court_order: "Court order" };

function Requests() {
  const { value, error, again } = useLoaded(() => ask<WrittenRequests>("GET", "/requests"));
  const [kind, setKind] = useState<RequestKind>("access");
  const [about, setAbout] = useState("");
  const { busy, error: refused, run } = useAction();
  return (
    <section class="card stack">
      <h2>Written requests</h2>
      {value === null ? <Loading error={error} /> : (
        <Table label="Written requests" columns={["Request", "State", "Opened", "By"]} empty="None." rows={value.requests.map((one) => ({
          key: one.id, cells: [<a href={`#/desk/requests/${one.id}`}>{KINDS[one.kind]}</a>, one.state, when(one.opened_at), one.opened_by],
        }))} />
      )}
      <form class="stack" onSubmit={(event) => {
        event.preventDefault();
        const text = about.trim();
        void run(async () => {
          const opened = await ask<WrittenRequest>("POST", "/requests", { kind, ...(text.includes("@") ? { email: text } : { phone: text }) });
          setAbout("");
          again();
          location.hash = `#/desk/requests/${opened.id}`;
        });
      }}>
        <h3>Open one</h3>
        <Field label="What is asked for">{(a) => <select {...a} value={kind} onChange={(e) => setKind(e.currentTarget.value as RequestKind)}>{Object.entries(KINDS).map(([value, name]) => <option key={value} value={value}>{name}</option>)}</select>}</Field>
        <Field label="Number or address of the person">{(a) => <input {...a} required autocomplete="off" spellcheck={false} value={about} onInput={(e) => setAbout(e.currentTarget.value)} />}</Field>
        <Failure error={refused} />
        <div><button type="submit" disabled={busy}>Open</button></div>
      </form>
    </section>
  );
}

export function RequestView({ request: id }: { request: string }) {
  const { value: request, error, again } = useLoaded(() => ask<WrittenRequest>("GET", `/requests/${id}`));
  const [code, setCode] = useState("");
  const [document_, setDocument] = useState<RequestDocument>("identity_document");
  const { busy, error: refused, run } = useAction();
  const back = <a href="#/desk">Desk</a>;
  if (request === null) return <div class="stack"><Title lead={back}>Written request</Title><Loading error={error} /></div>;
  const act = (path: string, body?: unknown) => void run(() => ask("POST", `/requests/${id}/${path}`, body).then(again));
  async function archive() {
    download(await ask<Blob>("POST", `/requests/${id}/archive`), "export.zip");
    again();
  }
  const open = request.closed_at === undefined;
  return (
    <div class="stack">
      <Title lead={back}>{KINDS[request.kind]}</Title>
      <section class="card stack">
        <dl>
          <dt>State</dt><dd>{request.state}</dd><dt>Opened</dt><dd>{when(request.opened_at)} by {request.opened_by}</dd>
          {request.verified_by === undefined ? null : <><dt>Identified</dt><dd>by {request.verified_by}: {request.evidence}</dd></>}
          {request.confirmed_by === undefined ? null : <><dt>Confirmed</dt><dd>by {request.confirmed_by}</dd></>}
          {request.closed_at === undefined ? null : <><dt>Closed</dt><dd>{when(request.closed_at)}</dd></>}
        </dl>
        <Failure error={refused} />
      </section>
      {open && request.verified_by === undefined ? (
        <section class="card stack">
          <h2>Who asks?</h2>
          <div class="row"><button type="button" disabled={busy} onClick={() => act("code", { channel: "phone" })}>Send a code to the number</button><button type="button" disabled={busy} onClick={() => act("code", { channel: "email" })}>Send a code to the address</button></div>
          <form class="stack" onSubmit={(event) => { event.preventDefault(); act("verification", { code }); }}>
            <Field label="Code that the person told you">{(a) => <input {...a} class="code" inputMode="numeric" autocomplete="off" required pattern="[0-9]{6}" maxLength={6} value={code} onInput={(e) => setCode(e.currentTarget.value)} />}</Field>
            <div><button type="submit" disabled={busy}>Check the code</button></div>
          </form>
          <form class="stack" onSubmit={(event) => { event.preventDefault(); act("verification", { document: document_ }); }}>
            <Field label="Or what you have seen instead">{(a) => <select {...a} value={document_} onChange={(e) => setDocument(e.currentTarget.value as RequestDocument)}>{Object.entries(DOCUMENTS).map(([value, name]) => <option key={value} value={value}>{name}</option>)}</select>}</Field>
            <div><button type="submit" disabled={busy}>I have seen it</button></div>
          </form>
        </section>
      ) : null}
      {open ? (
        <section class="card row">
          {request.verified_by !== undefined && request.confirmed_by === undefined ? <Confirmed label="Confirm" yes="Confirm" question="You agree that the person was identified, and that this is what they asked for. You cannot confirm what you opened or verified yourself." action={() => ask("POST", `/requests/${id}/confirmation`).then(again)} /> : null}
          {request.confirmed_by === undefined ? null : request.kind === "access"
            ? <button type="button" disabled={busy} onClick={() => void run(archive)}>Save the archive</button>
            : <Confirmed label="Do it" yes="Do it" question={`${KINDS[request.kind]}: this is done to the account now.`} action={() => ask("POST", `/requests/${id}/fulfilment`).then(again)} />}
          <Confirmed label="Reject" yes="Reject the request" question="The request ends, and nothing is done." action={() => ask("POST", `/requests/${id}/rejection`).then(again)} />
        </section>
      ) : null}
    </div>
  );
}

function News() {
  const { value, error, again } = useLoaded(() => ask<CurrentAnnouncements>("GET", "/announcements"));
  const [title, setTitle] = useState("");
  const [text, setText] = useState("");
  const { busy, error: refused, run } = useAction();
  return (
    <section class="card stack">
      <h2>Announcements</h2>
      {value === null ? <Loading error={error} /> : value.announcements.length === 0 ? <p class="soft">Nothing is announced.</p> : (
        <ul class="list">
          {value.announcements.map((one: Announcement) => (
            <li key={one.announcement}><div class="grow"><strong>{one.title}</strong><span class="soft small wrap">{one.text}</span></div>
              <Confirmed label="Withdraw" name={`Withdraw ${one.title}`} yes="Withdraw" question="It is shown no more." action={() => ask("DELETE", `/announcements/${one.announcement}`).then(again)} /></li>
          ))}
        </ul>
      )}
      <form class="stack" onSubmit={(event) => { event.preventDefault(); void run(async () => { await ask("POST", "/announcements", { title, text }); setTitle(""); setText(""); again(); }); }}>
        <h3>Announce something</h3>
        <Field label="Title">{(a) => <input {...a} required maxLength={120} value={title} onInput={(e) => setTitle(e.currentTarget.value)} />}</Field>
        <Field label="Text" hint="Shown in the app for 90 days to who does not object.">{(a) => <textarea {...a} required maxLength={4000} value={text} onInput={(e) => setText(e.currentTarget.value)} />}</Field>
        <Failure error={refused} />
        <div><button type="submit" disabled={busy}>Announce</button></div>
      </form>
    </section>
  );
}
