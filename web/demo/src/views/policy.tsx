import type { Policy } from "@kloudtalk/sdk";
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { language, rich, t } from "../i18n";
import { Failure, Title, useAction, useLoaded, useTalk } from "../ui";

/** `**strong**` and `code` within a line; everything else is text, so nothing of a policy can become markup. */
function inline(text: string): ComponentChildren {
  return text.split(/(\*\*[^*]+\*\*|`[^`]+`)/u).map((part) =>
    part.startsWith("**") ? <strong>{part.slice(2, -2)}</strong> : part.startsWith("`") ? <code>{part.slice(1, -1)}</code> : part);
}

/** The part of Markdown that a policy is written in: headings, paragraphs and lists. Its own title is left out. */
export function Markdown({ text }: { text: string }) {
  const blocks: ComponentChildren[] = [];
  let lines: string[] = [];
  function flush() {
    if (lines.length === 0) return;
    if (lines[0]?.startsWith("- ")) {
      const items: string[] = [];
      for (const line of lines) {
        if (line.startsWith("- ")) items.push(line.slice(2));
        else items.push(`${items.pop() ?? ""} ${line.trim()}`);
      }
      blocks.push(<ul>{items.map((item) => <li>{inline(item)}</li>)}</ul>);
    } else {
      blocks.push(<p>{inline(lines.join(" "))}</p>);
    }
    lines = [];
  }
  for (const line of text.split("\n")) {
    const heading = /^#{1,6} +(.*)$/u.exec(line);
    if (heading || line.trim() === "") flush();
    if (heading && !line.startsWith("# ")) blocks.push(<h2>{heading[1]}</h2>);
    else if (!heading && line.trim() !== "") lines.push(line);
  }
  flush();
  return <div class="prose">{blocks}</div>;
}

/** The policy in a box of its own that scrolls, by keyboard too. */
export function PolicyBox({ policy }: { policy: Policy }) {
  return <section class="policy" lang={policy.language} dir="auto" tabIndex={0} aria-label={t("Privacy policy")}><Markdown text={policy.text} /></section>;
}

/** The policy has a new version: nothing new is done before it was read (P04). Leaving, and taking one's data along, works all the time. */
export function PolicyChanged() {
  const { client, state } = useTalk();
  const policy = useLoaded(() => client.policy(language()), language());
  const { busy, error, run } = useAction();
  const [read, setRead] = useState(false);
  const { value } = policy;
  return (
    <form class="narrow stack" noValidate onSubmit={(event) => { event.preventDefault(); if (read && value) void run(() => client.acknowledgePolicy(value.version).catch((failure: unknown) => { setRead(false); policy.again(); throw failure; })); }}>
      <Title lead={[t("Please read it before you go on."), state.account === null ? "" : t("You acknowledged version {version}.", { version: state.account.policyVersion }), t("A call that you are in goes on.")].join(" ")}>{t("The privacy policy has changed")}</Title>
      <div class="card stack">
        <Failure error={policy.error} />
        {policy.error !== null ? <button type="button" onClick={policy.again}>{t("Load the policy again")}</button> : null}
        {value ? <><p class="soft small">{t("Version {version}", { version: value.version })}</p><PolicyBox policy={value} /></> : policy.error === null ? <p class="soft" role="status">{t("Loading…")}</p> : null}
        <label class="check">
          <input type="checkbox" checked={read} onChange={(event) => setRead(event.currentTarget.checked)} />
          <span>{t("I have read the new privacy policy")}</span>
        </label>
        <Failure error={error} />
        <button type="submit" class="primary wide" disabled={busy || !read || value === null}>{t("Go on")}</button>
        <p class="soft small">{rich("If you do not want to go on, you can download your data and delete your account in the <a>settings</a>.", { a: (text) => <a href="#/settings">{text}</a> })}</p>
      </div>
    </form>
  );
}

export function PolicyView({ back }: { back: string }) {
  const { client, state } = useTalk();
  const { value, error, again } = useLoaded(() => client.policy(language()), language());
  const acknowledged = state.account?.policyVersion;
  return (
    <div class="stack">
      <Title>{t("Privacy policy")}</Title>
      <Failure error={error} />
      {error !== null ? <button type="button" onClick={again}>{t("Try again")}</button> : null}
      {value === null && error === null ? <p class="soft" role="status">{t("Loading…")}</p> : null}
      {value ? (
        <article class="card stack" lang={value.language} dir="auto">
          <p class="soft small">{t("Version {version}", { version: value.version })}{acknowledged ? `. ${t("You acknowledged version {version}.", { version: acknowledged })}` : ""}</p>
          <Markdown text={value.text} />
        </article>
      ) : null}
      <p><a href={back}>{t("Back")}</a></p>
    </div>
  );
}
