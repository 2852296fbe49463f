import { ATTACHMENT_TYPES, type Ticket } from "@kloudtalk/sdk";
import { useRef, useState } from "preact/hooks";
import { download } from "../../../common/parts";
import { type Message, t } from "../i18n";
import { Confirmed, day, Failure, Field, Title, useAction, useLoaded, useTalk } from "../ui";

const STATES: Record<Ticket["state"], Message> = { open: "Waiting for an answer", answered: "Answered", closed: "Closed" };

/** Support (P27): questions to who runs this server, and their answers. */
export function Support() {
  const { client, state } = useTalk();
  const { value, error, again } = useLoaded(() => client.services.tickets(), state.unreadAnswers);
  const [shown, setShown] = useState<string | null>(null);
  return (
    <div class="stack">
      <Title lead={t("Ask those who run this server. They see what you write and attach here, and nothing else of yours.")}>{t("Support")}</Title>
      <p><a href="#/settings">{t("Back to settings")}</a></p>
      <Failure error={error} />
      {(value ?? []).length > 0 ? (
        <section class="card" aria-label={t("My questions")}>
          <ul class="list">
            {(value ?? []).map((ticket) => (
              <li key={ticket.ticket}>
                <div class="grow"><strong>{ticket.subject}</strong><span class="soft small">{t(STATES[ticket.state])} · {day(ticket.changed_at)}</span></div>
                {ticket.unread === true ? <span class="badge">{t("New answer")}</span> : null}
                <button type="button" aria-expanded={shown === ticket.ticket} aria-label={shown === ticket.ticket ? t("Close “{subject}”", { subject: ticket.subject }) : t("Read “{subject}”", { subject: ticket.subject })} onClick={() => setShown(shown === ticket.ticket ? null : ticket.ticket)}>{shown === ticket.ticket ? t("Close") : t("Read")}</button>
              </li>
            ))}
          </ul>
        </section>
      ) : null}
      {shown === null ? <Ask done={again} /> : <Talk key={shown} ticket={shown} changed={again} gone={() => { setShown(null); again(); }} />}
    </div>
  );
}

function Files({ chosen, choose }: { chosen: File[]; choose: (files: File[]) => void }) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <input ref={input} type="file" multiple accept={ATTACHMENT_TYPES.join(",")} hidden onChange={(event) => choose([...(event.currentTarget.files ?? [])].slice(0, 5))} />
      <div><button type="button" onClick={() => input.current?.click()}>{t("Attach files")}</button></div>
      {chosen.length > 0 ? <p class="soft small">{t("Attached: {files}", { files: chosen.map((file) => file.name).join(", ") })}</p> : null}
    </>
  );
}

function Ask({ done }: { done: () => void }) {
  const { client } = useTalk();
  const { busy, error, run } = useAction();
  const [subject, setSubject] = useState("");
  const [text, setText] = useState("");
  const [files, setFiles] = useState<File[]>([]);
  async function send() {
    await client.services.openTicket(subject.trim(), text.trim(), files.map((content) => ({ name: content.name, content })));
    setSubject("");
    setText("");
    setFiles([]);
    done();
  }
  return (
    <form class="card stack" noValidate onSubmit={(event) => { event.preventDefault(); if (subject.trim() !== "" && text.trim() !== "") void run(send); }}>
      <h2>{t("Ask something")}</h2>
      <Field label={t("Subject")}>{(field) => <input {...field} type="text" maxLength={120} value={subject} onInput={(event) => setSubject(event.currentTarget.value)} />}</Field>
      <Field label={t("What is it about?")}>{(field) => <textarea {...field} rows={5} maxLength={4000} value={text} onInput={(event) => setText(event.currentTarget.value)} />}</Field>
      <Files chosen={files} choose={setFiles} />
      <Failure error={error} />
      <button type="submit" class="primary" disabled={busy || subject.trim() === "" || text.trim() === ""}>{t("Send")}</button>
    </form>
  );
}

function Talk({ ticket, changed, gone }: { ticket: string; changed: () => void; gone: () => void }) {
  const { client } = useTalk();
  const { value, error, again } = useLoaded(() => client.services.ticket(ticket));
  const answer = useAction();
  const [text, setText] = useState("");
  const [files, setFiles] = useState<File[]>([]);
  async function send() {
    await client.services.addToTicket(ticket, text.trim(), files.map((content) => ({ name: content.name, content })));
    setText("");
    setFiles([]);
    again();
    changed();
  }
  return (
    <section class="card stack" aria-label={value?.subject ?? t("Question")}>
      <Failure error={error ?? answer.error} />
      {(value?.messages ?? []).map((message, at) => (
        <div key={at}>
          <p class="soft small">{message.from_operator ? t("Support") : t("You")} · {day(message.at)}</p>
          <p style={{ whiteSpace: "pre-wrap" }}>{message.text}</p>
          {message.attachments.map((file) => (
            <button type="button" class="plain" key={file.attachment} onClick={() => void answer.run(async () => { download(await client.services.attachment(ticket, file.attachment), file.name); })}>{file.name}</button>
          ))}
        </div>
      ))}
      <Field label={t("Say more")}>{(field) => <textarea {...field} rows={3} maxLength={4000} value={text} onInput={(event) => setText(event.currentTarget.value)} />}</Field>
      <Files chosen={files} choose={setFiles} />
      <button type="button" class="primary" disabled={answer.busy || text.trim() === ""} onClick={() => void answer.run(send)}>{t("Send")}</button>
      <Confirmed label={t("Delete this question")} question={t("Delete this question with everything in it? It is gone at once, at the server too.")} yes={t("Delete question")} action={async () => { await client.services.deleteTicket(ticket); gone(); }} />
    </section>
  );
}
