import type { Policy } from "@kloudtalk/sdk";
import type { ComponentChildren } from "preact";
import { Failure, Title, useLoaded, useTalk } from "../ui";

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
  return <section class="policy" tabIndex={0} aria-label="Privacy policy"><Markdown text={policy.text} /></section>;
}

export function PolicyView({ back }: { back: string }) {
  const { client, state } = useTalk();
  const { value, error, again } = useLoaded(() => client.policy());
  const acknowledged = state.account?.policyVersion;
  return (
    <div class="stack">
      <Title>Privacy policy</Title>
      <Failure error={error} />
      {error !== null ? <button type="button" onClick={again}>Try again</button> : null}
      {value === null && error === null ? <p class="soft" role="status">Loading…</p> : null}
      {value ? (
        <article class="card stack">
          <p class="soft small">Version {value.version}{acknowledged ? `. You acknowledged version ${acknowledged}.` : ""}</p>
          <Markdown text={value.text} />
        </article>
      ) : null}
      <p><a href={back}>Back</a></p>
    </div>
  );
}
