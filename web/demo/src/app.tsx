import type { ClientState, ConnectionCause, KloudTalkClient } from "@kloudtalk/sdk";
import { useEffect, useMemo, useReducer, useRef, useState } from "preact/hooks";
import { type Message, onLanguage, rich, t, translated } from "./i18n";
import { Guard, useRoute } from "../../common/parts";
import { Icon, type IconName } from "./icons";
import { unlockSound } from "./ring";
import { Failure, sentence, Talk, useAction, useNow, useTalk } from "./ui";
import { Call, Elsewhere } from "./views/call";
import { AskAgain } from "./views/consents";
import { Contacts, ImportContacts } from "./views/contacts";
import { History } from "./views/history";
import { LanguageSelect } from "./views/looks";
import { AddDevice, ClaimLink } from "./views/link";
import { PolicyChanged, PolicyView } from "./views/policy";
import { Register } from "./views/register";
import { Answers, Frozen, News, useFrozen } from "./views/rights";
import { Settings } from "./views/settings";
import { SoundCheck } from "./views/sound-check";
import { Support } from "./views/support";
import { Welcome } from "./views/welcome";

export function App({ client }: { client: KloudTalkClient }) {
  const [state, setState] = useState<ClientState>(client.state);
  const [, spoken] = useReducer((count: number) => count + 1, 0);
  useEffect(() => client.subscribe(setState), [client]);
  useEffect(() => onLanguage(() => spoken(undefined)), []); // the whole page is drawn anew, and keeps what was typed
  useEffect(() => {
    // browsers let a page ring only after its first click or key
    for (const event of ["pointerdown", "keydown"]) addEventListener(event, unlockSound, { once: true });
  }, []);
  const talk = useMemo(() => ({ client, state }), [client, state]);
  const ready = state.phase === "ready";
  const route = useRoute();
  const was = useRef(ready);
  useEffect(() => {
    // Coming in and going out start at the first view, not at the one that was open before.
    if (ready && /^#\/(register|link)/u.test(location.hash)) location.replace("#/contacts");
    if (!ready && was.current) location.replace("#/");
    was.current = ready;
  }, [ready]);
  return (
    <Talk.Provider value={talk}>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById("main")?.focus(); }}>{t("Skip to the content")}</a>
      <div class={ready ? "shell" : "shell bare"}>
        <header class="bar">
          <span class="brand"><img src="/icon.svg" alt="" />KloudTalk</span>
          {ready ? <Connection /> : <LanguageSelect />}
        </header>
        <main id="main" tabIndex={-1}>
          <Warnings />
          {ready ? <><Elsewhere /><Answers /><AskAgain /><News /></> : null}
          <Guard key={route.join("/")} failed={() => <Failure error={new Error("a view that cannot be drawn")} />}>{ready ? <Inside /> : <Outside />}</Guard>
        </main>
      </div>
      {ready ? <Tabs /> : null}
      <Call />
    </Talk.Provider>
  );
}

function Outside() {
  const { state } = useTalk();
  const [view, code] = useRoute();
  if (view === "policy") return <PolicyView back={state.phase === "registering" ? "#/register" : "#/"} />;
  if (state.phase === "registering" || view === "register") return <Register />;
  if (state.phase === "linking" || view === "link") return <ClaimLink code={code ?? null} />;
  return (
    <div class="stack">
      {state.signedOutReason === "revoked" ? <p class="note warn" role="alert"><Icon name="warning" />{t("This device was signed out by your account.")}</p> : null}
      <Welcome />
    </div>
  );
}

function Inside() {
  const { state } = useTalk();
  const [view, detail] = useRoute();
  const frozen = useFrozen();
  if (frozen) return view === "policy" ? <PolicyView back="#/settings" /> : view === "settings" && detail === "support" ? <Support /> : <Frozen />;
  if (state.policyWanted && view !== "settings") return <PolicyChanged />;
  if (view === "calls") return <History />;
  if (view === "policy") return <PolicyView back="#/settings" />;
  if (view === "contacts" && detail === "import") return <ImportContacts />;
  if (view === "settings") return detail === "add-device" ? <AddDevice /> : detail === "support" ? <Support /> : detail === "sound" ? <SoundCheck /> : <Settings />;
  return <Contacts />;
}

const tabs: { href: string; label: Message; icon: IconName; views: string[] }[] = [
  { href: "#/contacts", label: "Contacts", icon: "people", views: ["contacts"] },
  { href: "#/calls", label: "Calls", icon: "clock", views: ["calls"] },
  { href: "#/settings", label: "Settings", icon: "settings", views: ["settings", "policy"] },
];

function Tabs() {
  const [view = "contacts"] = useRoute();
  const known = tabs.some((tab) => tab.views.includes(view));
  return (
    <nav class="tabs" aria-label={t("Main")}>
      {tabs.map((tab) => {
        const current = tab.views.includes(view) || (!known && tab.href === "#/contacts");
        return <a key={tab.href} href={tab.href} aria-current={current ? "page" : undefined}><Icon name={tab.icon} />{t(tab.label)}</a>;
      })}
    </nav>
  );
}

/** Why there is no connection, in a word or two; it is tried again by itself. */
const WAITS: Record<ConnectionCause, Message> = {
  no_network: "No network",
  server: "Server not reached",
  interrupted: "Reconnecting…",
  going_away: "Server restarts…",
  rate_limited: "Too fast, waiting",
  shut_out: "Not let in",
};

function Connection() {
  const { client, state } = useTalk();
  const { status, retryAt, cause } = state.connection;
  const now = useNow(status === "waiting");
  if (state.signedOutReason === "replaced") return <span class="pill">{t("Open in another tab")}</span>;
  if (status === "online") return <span class="pill good" role="status">{t("Connected")}</span>;
  const wait = retryAt === null ? 0 : Math.ceil((retryAt - now) / 1000);
  return (
    <span class="row">
      <span class="pill" role="status">{status === "waiting" ? t(WAITS[cause ?? "server"]) : status === "connecting" ? t("Connecting…") : t("Offline")}</span>
      {status === "waiting" && cause !== "no_network" && wait > 1 ? <button type="button" class="plain" onClick={() => client.reconnect()}>{t("Try now")}</button> : null}
    </span>
  );
}

/** What the user must know before the next call. */
function Warnings() {
  const { client, state } = useTalk();
  const [seen, setSeen] = useState(0);
  const { error, run } = useAction();
  const notices = state.notices.slice(seen).filter((notice) => notice.kind !== "identity_changed");
  const changed = state.contacts.filter((contact) => contact.identityChanged && contact.account !== null);
  if (notices.length === 0 && changed.length === 0 && state.signedOutReason !== "replaced") return null;
  return (
    <div class="stack" role="region" aria-label={t("Warnings")}>
      {state.signedOutReason === "replaced" ? (
        <div class="note warn"><Icon name="warning" /><div class="grow"><p>{t("KloudTalk was opened in another tab or window. Calls ring there.")}</p>
          <button type="button" class="plain" onClick={() => location.reload()}>{t("Use it here")}</button></div></div>
      ) : null}
      {changed.map(({ account, name }) => (
        <div class="note bad" key={account} role="alert">
          <Icon name="warning" />
          <div class="grow">
            <p>{rich("<b>{name}</b> has new keys: they signed up again, or somebody stands between you. Compare the safety number with them before you talk.", { name, b: (text) => <strong>{text}</strong> })}</p>
            {error !== null ? <p>{sentence(error)}</p> : null}
            <button type="button" class="plain" onClick={() => void run(() => client.acceptIdentityChange(account ?? ""))}>{t("Accept the new keys")}</button>
          </div>
        </div>
      ))}
      {notices.length > 0 ? (
        <div class="note bad" role="alert">
          <Icon name="warning" />
          <div class="grow">
            {[...new Set(notices.map((notice) => notice.detail))].map((detail) => <p key={detail}>{translated(detail)}</p>)}
            <button type="button" class="plain" onClick={() => setSeen(state.notices.length)}>{t("I have read this")}</button>
          </div>
        </div>
      ) : null}
    </div>
  );
}
