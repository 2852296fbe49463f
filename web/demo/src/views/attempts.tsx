import type { Attempt, CallState, TriedWay } from "@kloudtalk/sdk";
import { type Message, t } from "../i18n";

const SAID: Record<TriedWay, Partial<Record<NonNullable<Attempt["outcome"]>, Message>>> = {
  direct: {
    no_answer: "Directly: nothing came through. Something between the two networks stops it.",
    hidden: "Directly: not tried, as an address is to stay hidden.",
  },
  turn: {
    no_answer: "Through a TURN server: nothing came through.",
    none: "Through a TURN server: there is none here.",
    unreachable: "Through a TURN server: it could not be reached from your network.",
    refused: "Through a TURN server: it refused.",
  },
  relay: {
    no_answer: "Through the server's relay: nothing came through. Your network or theirs may block UDP.",
    none: "Through the server's relay: there is none at the moment.",
    unreachable: "Through the server's relay: the server could not be asked.",
    full: "Through the server's relay: it has too many calls at the moment.",
  },
};

/** What was tried to get a call through that did not come about, and why it did not work. */
export function Attempts({ call }: { call: CallState }) {
  const said = call.tried.map(({ way, outcome }) => (outcome === null ? undefined : SAID[way][outcome]));
  // media were there once: it failed for another reason
  if (said.length === 0 || said.includes(undefined)) return null;
  return (
    <div class="note">
      <div class="grow">
        <p>{t("What was tried:")}</p>
        <ul class="small">{said.map((one) => (one === undefined ? null : <li key={one}>{t(one)}</li>))}</ul>
      </div>
    </div>
  );
}
