import { parsePhonebook, type Contact, type ParsedPhonebook, type PhonebookEntry, type UploadResult } from "@kloudtalk/sdk";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { countryOf, CountrySelect, likelyCountry } from "../countries";
import { language, t } from "../i18n";
import { Icon } from "../icons";
import { ago, Avatar, Confirmed, day, Failure, Field, Modal, Title, useAction, useLoaded, useTalk } from "../ui";

/** Rows drawn at first: a phonebook of thousands would make the page slow. */
const PAGE = 200;

export function Contacts() {
  const { client, state } = useTalk();
  const [search, setSearch] = useState("");
  const [limit, setLimit] = useState(PAGE);
  const { error, run } = useAction();
  const consents = useLoaded(() => client.consents());
  useEffect(() => { if (error !== null) scrollTo(0, 0); }, [error]); // what went wrong is said above the list
  const consent = state.consents.find((one) => one.purpose === "phonebook");
  if (consent === undefined && state.contacts.length === 0 && consents.value === null) {
    return (
      <div class="stack">
        <Title>{t("Contacts")}</Title>
        {consents.error === null ? <p class="soft" role="status">{t("Loading…")}</p> : <button type="button" onClick={consents.again}>{t("Try again")}</button>}
        <Failure error={consents.error} />
      </div>
    );
  }
  if (consent !== undefined && !consent.granted && !consent.changed && state.contacts.length === 0) return <AskConsent />;
  const wanted = search.trim().toLowerCase();
  const shown = state.contacts.filter((contact) => contact.name.toLowerCase().includes(wanted) || contact.phone.includes(wanted.replace(/[\s()-]/gu, "")));
  const here = shown.filter((contact) => contact.account !== null);
  const others = shown.filter((contact) => contact.account === null);
  return (
    <div class="stack">
      <Title>{t("Contacts")}</Title>
      {state.contactsWanted && state.contacts.length === 0 ? (
        <p class="note warn"><Icon name="warning" />{t("The server lost its copy of your contacts, of which it keeps no backup. Please import them again.")}</p>
      ) : null}
      {state.contacts.length === 0 ? (
        <div class="card empty">
          <Icon name="people" />
          <h2>{t("Nobody here yet")}</h2>
          <p class="soft">{t("Bring your phonebook to see who of it you can call. Who joins later appears by itself.")}</p>
          <a class="button primary" href="#/contacts/import">{t("Import contacts")}</a>
        </div>
      ) : (
        <>
          <div class="row">
            <div class="grow">
              <label class="visually-hidden" for="search">{t("Search contacts")}</label>
              <input id="search" type="search" placeholder={t("Search")} value={search} onInput={(event) => setSearch(event.currentTarget.value)} />
            </div>
            <a class="button" href="#/contacts/import">{t("Import contacts")}</a>
          </div>
          <Failure error={error} />
          <section class="card" aria-labelledby="here">
            <h2 id="here">{t("On KloudTalk")}</h2>
            {here.length === 0 ? <p class="soft">{wanted ? t("No match.") : t("None of your contacts yet. They appear here as they join.")}</p> : (
              <ul class="list">
                {here.slice(0, limit).map((contact) => <Row key={contact.token} contact={contact} call={contact.blocked ? null : () => void run(() => client.call(contact.account ?? ""))} />)}
              </ul>
            )}
          </section>
          {others.length > 0 ? (
            <section class="card" aria-labelledby="others">
              <h2 id="others">{t("Not on KloudTalk yet")}</h2>
              <ul class="list">{others.slice(0, limit).map((contact) => <Row key={contact.token} contact={contact} call={null} />)}</ul>
            </section>
          ) : null}
          {Math.max(here.length, others.length) > limit ? <button type="button" onClick={() => setLimit(limit + PAGE)}>{t("Show more contacts")}</button> : null}
        </>
      )}
    </div>
  );
}

function Row({ contact, call }: { contact: Contact; call: (() => void) | null }) {
  const [open, setOpen] = useState(false);
  return (
    <li>
      <Avatar name={contact.name} online={contact.online === true} account={contact.account} pictureChangedAt={contact.pictureChangedAt} />
      <button type="button" class="plain grow person" onClick={() => setOpen(true)}>
        <span>
          <strong><span class="visually-hidden">{t("About")} </span>{contact.name}</strong>{" "}
          <span class="soft small">{presence(contact) ?? <bdi dir="ltr">{contact.phone}</bdi>}</span>
        </span>
      </button>
      {contact.business ? <span class="badge">{t("Business")}</span> : null}
      {contact.verified ? <span class="badge"><Icon name="shield" />{t("Verified")}</span> : null}
      {contact.identityChanged ? <span class="badge bad">{t("New keys")}</span> : null}
      {contact.blocked ? <span class="badge bad">{t("Blocked")}</span> : null}
      {call !== null ? <button type="button" class="primary round" aria-label={t("Call {name}", { name: contact.name })} onClick={call}><Icon name="phone" /></button> : null}
      {open ? <About contact={contact} close={() => setOpen(false)} /> : null}
    </li>
  );
}

/** "Online", when last seen, or null when neither is shown. */
function presence(contact: Contact): string | null {
  if (contact.online === true) return t("Online");
  return contact.lastSeenAt === null ? (contact.online === false ? t("Offline") : null) : t("Last seen {when}", { when: ago(contact.lastSeenAt) });
}

function About({ contact, close }: { contact: Contact; close: () => void }) {
  const { client } = useTalk();
  const { account } = contact;
  const number = useLoaded(() => (account === null ? Promise.resolve(null) : client.safetyNumber(account)));
  const { busy, error, run } = useAction();
  return (
    <Modal label={contact.name} kind="sheet" onCancel={close}>
      <div class="card stack">
        <div class="row">
          <Avatar name={contact.name} big account={contact.account} pictureChangedAt={contact.pictureChangedAt} />
          <div class="grow">
            <h2>{contact.name}</h2>
            {contact.ownName !== null && contact.ownName !== contact.name ? <p class="soft small">{t("Calls themselves “{name}”", { name: contact.ownName })}</p> : null}
            {contact.about !== null ? <p class="wrap">{contact.about}</p> : null}
            {contact.about !== null && contact.aboutChangedAt !== null ? <p class="soft small">{day(contact.aboutChangedAt)}</p> : null}
          </div>
        </div>
        <p class="soft"><bdi dir="ltr">{contact.phone}</bdi>{presence(contact) === null ? "" : ` · ${presence(contact)}`}</p>
        {account !== null ? (
          <>
            <h3>{t("Safety number")}</h3>
            {number.value !== null ? <SafetyNumber digits={number.value} /> : number.error !== null ? <Failure error={number.error} /> : <p class="soft" role="status">{t("Computing…")}</p>}
            <p class="soft small">{t("Compare it with {name}, in person or read aloud. If it is the same on both sides, nobody stands between you.", { name: contact.name })}</p>
            <button type="button" aria-pressed={contact.verified} disabled={busy || number.value === null} onClick={() => void run(() => client.markVerified(account, !contact.verified))}>
              <Icon name="shield" />{contact.verified ? t("Verified") : t("Mark as verified")}
            </button>
            <button type="button" disabled={busy} onClick={() => void run(() => (contact.blocked ? client.unblock(account) : client.block(account)))}>
              {contact.blocked ? t("Unblock") : t("Block")}
            </button>
          </>
        ) : null}
        <Failure error={error} />
        <Confirmed label={t("Remove from contacts")} question={t("Remove {name} from your contacts here? Your own phonebook stays as it is.", { name: contact.name })} yes={t("Remove contact")} action={() => client.removeContacts([contact.phone])} />
        <button type="button" class="wide" onClick={close}>{t("Close")}</button>
      </div>
    </Modal>
  );
}

export function SafetyNumber({ digits }: { digits: string }) {
  return <p class="digits" aria-label={t("Safety number {digits}", { digits })} role="img">{digits.split(" ").map((group, i) => <span key={i}>{group}</span>)}</p>;
}

function AskConsent() {
  const { client, state } = useTalk();
  const [again, setAgain] = useState(false);
  const question = useLoaded(() => client.question("phonebook", language()), language());
  const { busy, error, run } = useAction();
  const shown = question.value;
  const answered = state.consents.find((one) => one.purpose === "phonebook")?.at ?? null;
  if (answered !== null && !again) {
    return (
      <div class="stack">
        <Title>{t("Contacts")}</Title>
        <div class="card empty">
          <Icon name="people" />
          <h2>{t("Your phonebook is not used")}</h2>
          <p class="soft">{t("You did not allow it. People who have your number can still call you, if your settings let them.")}</p>
          <button type="button" onClick={() => setAgain(true)}>{t("Read the question again")}</button>
        </div>
      </div>
    );
  }
  return (
    <div class="narrow stack">
      <Title lead={t("To call somebody you need to find them. This is asked once, and you can take it back in the settings.")}>{t("Your phonebook")}</Title>
      <div class="card stack">
        <Failure error={question.error ?? error} />
        {question.error !== null ? <button type="button" onClick={question.again}>{t("Try again")}</button> : null}
        {shown !== null ? <blockquote lang={shown.language} dir="auto">{shown.text}</blockquote> : question.error === null ? <p class="soft" role="status">{t("Loading…")}</p> : null}
        <button type="button" class="primary wide" disabled={busy || shown === null}
          onClick={() => void run(() => client.setConsent("phonebook", true, shown ?? undefined)).then((done) => { if (done) location.hash = "#/contacts/import"; })}>{t("Allow")}</button>
        <button type="button" class="wide" disabled={busy || shown === null} onClick={() => void run(() => client.setConsent("phonebook", false, shown ?? undefined)).then((done) => { if (done) setAgain(false); })}>{t("No, thanks")}</button>
        <p class="soft small">{t("Without it nothing of your phonebook is used, and you can still be called by people who have your number.")}</p>
      </div>
    </div>
  );
}

interface PickedContact { name?: string[]; tel?: string[] }
interface ContactPicker { select(properties: string[], options: { multiple: boolean }): Promise<PickedContact[]> }

export function ImportContacts() {
  const { client, state } = useTalk();
  const { busy, error, run } = useAction();
  const [text, setText] = useState("");
  const [parsed, setParsed] = useState<ParsedPhonebook | null>(null);
  const [progress, setProgress] = useState<{ done: number; total: number } | null>(null);
  const [result, setResult] = useState<UploadResult | null>(null);
  const file = useRef<HTMLInputElement>(null);
  const [country, setCountry] = useState(() => (state.account === null ? null : countryOf(state.account.phone)) ?? likelyCountry());
  const countryId = useId();
  const picker = (navigator as Navigator & { contacts?: ContactPicker }).contacts;
  const consent = state.consents.find((one) => one.purpose === "phonebook");
  if (consent !== undefined && !consent.granted) return <AskConsent />;

  function look(source: string) {
    setResult(null);
    setParsed(parsePhonebook(source, country));
  }
  async function pick() {
    const people = (await picker?.select(["name", "tel"], { multiple: true })) ?? [];
    if (people.length === 0) return; // closed without a choice
    look(people.flatMap((person) => (person.tel ?? []).map((tel) => `${(person.name?.[0] ?? "").replace(/[\d,;\n]/gu, " ")}, ${tel}`)).join("\n"));
  }
  async function upload(entries: PhonebookEntry[]) {
    setResult(await client.uploadContacts(entries, (done, total) => setProgress({ done, total })));
    setParsed(null);
    setText("");
  }
  return (
    <div class="narrow stack">
      <Title lead={t("Numbers are blinded on this device before anything is asked. Names are encrypted with a key that only your devices have.")}>{t("Import contacts")}</Title>
      <form class="card stack" noValidate onSubmit={(event) => { event.preventDefault(); look(text); }}>
        <div class="field">
          <label for={countryId}>{t("Country of numbers without +")}</label>
          <CountrySelect id={countryId} value={country} onChange={(chosen) => { setCountry(chosen); setParsed(null); }} />
        </div>
        <Field label={t("Paste names and numbers")} hint={t("One per line, such as “Anna, +49 30 1234567”. vCards and CSV work too.")}>
          {(field) => <textarea {...field} value={text} autocomplete="off" spellcheck={false} onInput={(event) => { setText(event.currentTarget.value); setParsed(null); }} />}
        </Field>
        <button type="submit" class="primary" disabled={text.trim() === ""}>{t("Check")}</button>
        <div class="row">
          <button type="button" class="grow" onClick={() => file.current?.click()}>{t("Choose a file")}</button>
          <input ref={file} type="file" class="visually-hidden" aria-label={t("vCard or CSV file")} tabIndex={-1} accept=".vcf,.csv,.txt,text/vcard,text/csv,text/plain"
            onChange={(event) => { const [chosen] = event.currentTarget.files ?? []; if (chosen) void run(async () => look(await chosen.text())); event.currentTarget.value = ""; }} />
          {picker !== undefined ? <button type="button" class="grow" onClick={() => void run(pick)}>{t("From this phone")}</button> : null}
        </div>
      </form>
      <div role="status" class="stack">
        {parsed !== null ? <Preview parsed={parsed} /> : null}
        {busy && progress !== null && progress.total > 0 ? (
          <label class="stack tight">{t("Looking up {done} of {total}", progress)}<progress max={progress.total} value={progress.done} /></label>
        ) : null}
        {result !== null ? (
          <p class="note"><Icon name="shield" /><span>{result.added === 0 ? t("No new numbers.") : t("{count, plural, one {# number} other {# numbers}} added.", { count: result.added })} {result.matches === 0 ? t("Nobody of them is on KloudTalk yet.") : t("{count} on KloudTalk.", { count: result.matches })}</span></p>
        ) : null}
      </div>
      <Failure error={error} />
      {parsed !== null && parsed.entries.length > 0 ? (
        <button type="button" class="primary wide" disabled={busy} onClick={() => void run(() => upload(parsed.entries))}>
          {busy ? t("Looking up…") : t("Find {count, plural, one {# contact} other {# contacts}}", { count: parsed.entries.length })}
        </button>
      ) : null}
      <p><a href="#/contacts">{result === null ? t("Back") : t("Go to contacts")}</a></p>
    </div>
  );
}

function Preview({ parsed }: { parsed: ParsedPhonebook }) {
  const { entries, rejected, duplicates } = parsed;
  return (
    <div class="card stack tight">
      <p>{t("{count, plural, one {# number} other {# numbers}} found.", { count: entries.length })}{duplicates > 0 ? ` ${t("{count} of them more than once.", { count: duplicates })}` : ""}</p>
      {entries.length > 0 ? <p class="soft small wrap">{entries.slice(0, 5).map((entry) => `${entry.name} (${entry.phone})`).join(", ")}{entries.length > 5 ? " …" : ""}</p> : null}
      {rejected.length > 0 ? (
        <details>
          <summary>{t("{count, plural, one {# line} other {# lines}} left out", { count: rejected.length })}</summary>
          <ul class="rejected" tabIndex={0} aria-label={t("Lines left out")}>{rejected.slice(0, 200).map(({ line, reason }, i) => <li key={i}>{line}: {reason === "no_number" ? t("no number") : t("not a number that can exist")}</li>)}</ul>
        </details>
      ) : null}
    </div>
  );
}
