import { KloudTalkError, explain, type ClientState, type KloudTalkClient } from "@kloudtalk/sdk";
import { createContext, type ComponentChildren } from "preact";
import { useContext, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { Modal, Problem, useAction as useOnce } from "../../common/parts";
import { date, language, number, t, translated } from "./i18n";

export { Field, Modal, useLoaded, useNow } from "../../common/parts";

/** The one client of the page, and its newest snapshot. */
export const Talk = createContext<{ client: KloudTalkClient; state: ClientState } | null>(null);

export function useTalk(): { client: KloudTalkClient; state: ClientState } {
  const talk = useContext(Talk);
  if (talk === null) throw new Error("useTalk outside of <Talk.Provider>");
  return talk;
}

/** A sentence for a person: what went wrong, and what to do. */
export function sentence(error: unknown): string {
  if (!(error instanceof KloudTalkError)) return t("Something went wrong on this page. Please reload it and try again.");
  let text = translated(explain(error.code));
  if (error.triesLeft !== null) text += ` ${t("{count, plural, one {# try} other {# tries}} left.", { count: error.triesLeft })}`;
  if (error.retryAfter !== null) text += ` ${t("You can try again in {time}.", { time: duration(error.retryAfter) })}`;
  return text;
}

/** Runs an action once at a time, and keeps its failure. */
export function useAction() {
  const action = useOnce();
  return { ...action, code: action.error instanceof KloudTalkError ? action.error.code : null };
}

/** Always in the page, so that a screen reader hears when it is filled. */
export function Failure({ error }: { error: unknown }) {
  return <div role="alert">{error === null ? null : <Problem>{sentence(error)}</Problem>}</div>;
}

/** Heading of a view. Takes the focus, so that keyboard and screen reader users land in the new view. */
export function Title({ children, lead }: { children: string; lead?: ComponentChildren }) {
  const heading = useRef<HTMLHeadingElement>(null);
  const spoken = useRef<string | null>(null);
  // before the view is painted: later it would take the focus from who is quick
  useLayoutEffect(() => {
    if (spoken.current === null || spoken.current === language()) heading.current?.focus({ preventScroll: true }); // not from the list of languages
    spoken.current = language();
    document.title = `${children} – KloudTalk`;
  }, [children]);
  return <div class="head"><h1 ref={heading} tabIndex={-1}>{children}</h1>{lead ? <p class="soft">{lead}</p> : null}</div>;
}

interface ConfirmedProps { label: ComponentChildren; name?: string; question: string; yes: string; action: () => Promise<unknown> }
/** A button that asks before it acts. `name` is what it is called when `label` alone does not say what it is about. */
export function Confirmed({ label, name, question, yes, action }: ConfirmedProps) {
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
            <button type="button" class="wide" onClick={() => setAsking(false)}>{t("Cancel")}</button>
          </div>
        </Modal>
      ) : null}
    </>
  );
}

interface AvatarProps { name: string; big?: boolean; online?: boolean; account?: string | null; pictureChangedAt?: number | null }
/** A person's picture, or their initials. */
export function Avatar({ name, big, online, account = null, pictureChangedAt = null }: AvatarProps) {
  const { client } = useTalk();
  const [picture, setPicture] = useState<string | null>(null);
  useEffect(() => {
    let current = true;
    setPicture(null);
    if (account !== null && pictureChangedAt !== null) client.picture(account, pictureChangedAt).then((url) => { if (current) setPicture(url); }, () => undefined);
    return () => { current = false; };
  }, [account, pictureChangedAt]);
  const letters = name.split(/\s+/u).filter(Boolean).slice(0, 2).map((word) => [...word][0] ?? "").join("").toUpperCase();
  return <span class={`avatar${big ? " big" : ""}${online ? " online" : ""}`} aria-hidden="true">{picture !== null ? <img src={picture} alt="" /> : /\p{L}/u.test(letters) ? letters : "#"}</span>;
}

/** The last resort when we know neither the name nor the number. */
export const nobody = () => t("Unknown person");

export function day(milliseconds: number): string {
  return date(milliseconds, { dateStyle: "medium", timeStyle: "short" });
}

/** A whole minute of the past, as people say it: "today at 14:05". */
export function ago(milliseconds: number, now = Date.now()): string {
  const [then, today] = [new Date(milliseconds), new Date(now)];
  const days = Math.round((new Date(today).setHours(0, 0, 0, 0) - new Date(then).setHours(0, 0, 0, 0)) / 86_400_000);
  const time = date(milliseconds, { timeStyle: "short" });
  if (days <= 0) return t("today at {time}", { time });
  return days === 1 ? t("yesterday at {time}", { time }) : t("on {date}", { date: date(milliseconds, { dateStyle: "medium" }) });
}

export function clock(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

export function duration(seconds: number): string {
  const [value, unit] = seconds < 90 ? [seconds, "second"] : seconds < 5400 ? [seconds / 60, "minute"] : [seconds / 3600, "hour"];
  return number(Math.ceil(value), { style: "unit", unit, unitDisplay: "long" });
}

/** A name for the list of devices, such as "Firefox on Linux". */
export function deviceName(): string {
  const agent = navigator.userAgent;
  const browser = /Firefox/.test(agent) ? "Firefox" : /Edg\//.test(agent) ? "Edge" : /Chrome/.test(agent) ? "Chrome" : /Safari/.test(agent) ? "Safari" : t("Browser");
  const system = /Android/.test(agent) ? "Android" : /iPhone|iPad/.test(agent) ? "iOS" : /Mac OS/.test(agent) ? "macOS" : /Windows/.test(agent) ? "Windows" : "Linux";
  return t("{browser} on {system}", { browser, system });
}
