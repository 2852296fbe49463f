import type { CallState, Rung } from "@kloudtalk/sdk";
import { useEffect, useRef, useState } from "preact/hooks";
import { Icon } from "../icons";
import { type Message, number, t, translated } from "../i18n";
import { startSound } from "../ring";
import { Avatar, clock, Failure, Modal, nobody, useAction, useNow, useTalk } from "../ui";
import { Attempts } from "./attempts";
import { SafetyNumber } from "./contacts";

const ENDS: Record<NonNullable<CallState["endReason"]>, (call: CallState) => string> = {
  hangup: () => t("Call ended"),
  declined: (call) => (call.direction === "outgoing" ? t("Declined") : t("You declined")),
  busy: () => t("Busy in another call"),
  missed: (call) => (call.direction === "outgoing" ? t("No answer") : t("Missed call")),
  cancelled: (call) => (call.direction === "outgoing" ? t("Cancelled") : t("Missed call")),
  answered_elsewhere: () => t("Answered on another device"),
  failed: () => t("The call could not be connected"),
  lost: () => t("The connection was lost"),
  unavailable: () => t("Not available"),
  moved: () => t("The call goes on at another of your devices"),
};

/** Milliseconds that an ended call stays on the screen by itself: long enough to read why it ended. */
const ENDED_SHOWN = 6_000;

/** The one call of this page, over everything else; and what is heard of it. */
export function Call() {
  const { client, state } = useTalk();
  const call = state.call?.peer.account === state.echo ? null : state.call; // a test call has a view of its own
  const [answering, setAnswering] = useState<string | null>(null); // silences the ringing while the microphone is asked for
  const decline = useAction();
  const ringing = call?.direction === "incoming" && (call.stage === "ringing" || call.stage === "inviting") && answering !== call.id;
  const waiting = call?.direction === "outgoing" && (call.stage === "inviting" || call.stage === "ringing");
  const name = call === null ? "" : (call.peer.name ?? call.peer.phone ?? nobody());
  useEffect(() => (ringing ? startSound("ring", t("{name} is calling", { name })) : undefined), [ringing, name]);
  useEffect(() => (waiting && call?.stage === "ringing" ? startSound("ringback") : undefined), [waiting, call?.stage]);
  // what is said about security, and of why there was no call, waits to be read
  const over = call?.stage === "ended" && call.notices.length === 0 && !(call.endReason === "failed" && call.tried.length > 0);
  useEffect(() => {
    if (!over) return;
    const timer = setTimeout(() => client.dismissCall(), ENDED_SHOWN);
    return () => clearTimeout(timer);
  }, [over, call?.id]);
  function escape() {
    if (ringing) void decline.run(() => client.decline());
    else if (call?.stage === "ended") client.dismissCall();
  }
  return (
    <>
      <Voice stream={client.remoteStream} tracks={client.remoteStream?.getAudioTracks().length ?? 0} />
      {call === null ? null : (
        <Modal label={ringing ? t("{name} is calling", { name }) : t("Call with {name}", { name })} kind="full" onCancel={escape}>
          <div class="stage"><Stage call={call} name={name} onAnswer={setAnswering} /><Failure error={decline.error} /></div>
        </Modal>
      )}
    </>
  );
}

/** Calls of the account at its other devices. */
export function Elsewhere() {
  const { client, state } = useTalk();
  const { busy, error, run } = useAction();
  const here = state.call !== null && state.call.stage !== "ended";
  const now = useNow(state.elsewhere.length > 0);
  if (here || state.elsewhere.length === 0) return null;
  return (
    <div class="stack" role="region" aria-label={t("Calls on your other devices")}>
      {state.elsewhere.map(({ id, device, account, phone, connectedAt }) => {
        const name = state.contacts.find((contact) => contact.account === account)?.name ?? phone ?? nobody();
        const where = state.devices.find((one) => one.device === device)?.name ?? t("another device");
        return (
          <div class="note" key={id}>
            <Icon name="phone" />
            <div class="grow"><p>{t("You are talking with {name} on {where}", { name, where })} <span role="timer" aria-label={t("Duration")}>({clock(Math.max(now, connectedAt) - connectedAt)})</span></p>
              <Failure error={error} />
              <button type="button" class="primary" disabled={busy} onClick={() => void run(() => client.takeOver(id))}>{t("Continue here")}</button></div>
          </div>
        );
      })}
    </div>
  );
}

/**
 * What is heard. The stream is handed over once it has a track, and anew with every track: Chromium does not start an element whose stream
 * was empty at first. A browser that insists on a click before sound gets the next click or key.
 */
function Voice({ stream, tracks }: { stream: MediaStream | null; tracks: number }) {
  const audio = useRef<HTMLAudioElement>(null);
  const [blocked, setBlocked] = useState(false);
  useEffect(() => {
    const element = audio.current;
    if (element === null) return;
    element.srcObject = null;
    setBlocked(false);
    if (stream === null || tracks === 0) return;
    element.srcObject = stream;
    element.play().catch((error: unknown) => { setBlocked(error instanceof DOMException && error.name === "NotAllowedError"); });
  }, [stream, tracks]);
  useEffect(() => {
    if (!blocked) return;
    const again = () => { audio.current?.play().then(() => setBlocked(false), () => undefined); };
    for (const gesture of ["pointerdown", "keydown"]) addEventListener(gesture, again);
    return () => { for (const gesture of ["pointerdown", "keydown"]) removeEventListener(gesture, again); };
  }, [blocked]);
  return (
    <>
      <audio ref={audio} autoplay hidden />
      <span class="visually-hidden" role="status">{blocked ? t("Press any key to hear the other person.") : ""}</span>
    </>
  );
}

function Stage({ call, name, onAnswer }: { call: CallState; name: string; onAnswer: (call: string | null) => void }) {
  const { client, state } = useTalk();
  const { busy, error, run } = useAction();
  const incoming = call.direction === "incoming";
  const rings = call.stage === "ringing" || call.stage === "inviting";
  const ended = call.stage === "ended";
  const changed = state.contacts.find((contact) => contact.account === call.peer.account)?.identityChanged ?? call.identityChanged;
  // The name takes the focus whenever the buttons change: a key pressed by chance neither answers nor declines, and the focus is never lost.
  const heading = useRef<HTMLHeadingElement>(null);
  const mode = ended ? "ended" : rings ? "rings" : "talks";
  useEffect(() => heading.current?.focus({ preventScroll: true }), [mode]);
  async function answer() {
    onAnswer(call.id);
    try {
      await client.accept();
    } catch (failure) {
      onAnswer(null);
      throw failure;
    }
  }
  return (
    <>
      <div class="who">
        <div class={rings ? "pulse" : undefined}><Avatar name={name} big /></div>
        <h1 ref={heading} tabIndex={-1} class="wrap">{name}</h1>
        {call.peer.name !== null && call.peer.phone !== null ? <p class="soft"><bdi dir="ltr">{call.peer.phone}</bdi></p> : null}
        <Status call={call} />
        {call.peer.business ? <span class="badge">{t("Business")}</span> : null}
        {call.peer.verified ? <span class="badge"><Icon name="shield" />{t("Verified")}</span> : null}
      </div>
      {call.notices.length > 0 ? (
        <div class="note bad" role="alert"><Icon name="warning" /><div>{[...new Set(call.notices.map((notice) => notice.detail))].map((detail) => <p key={detail}>{translated(detail)}</p>)}</div></div>
      ) : null}
      {call.identityChanged && changed && !ended ? (
        <div class="note bad" role="alert">
          <Icon name="warning" />
          <div class="grow">
            <p>{t("{name} has new keys since you last talked: they signed up again, or somebody stands between you. Compare the safety number over another way.", { name })}</p>
            <button type="button" class="plain" disabled={busy} onClick={() => void run(() => client.acceptIdentityChange(call.peer.account))}>{t("Accept the new keys")}</button>
          </div>
        </div>
      ) : null}
      {call.stage === "connected" || (call.safetyNumber !== null && call.identityChanged) ? <Details call={call} name={name} /> : null}
      {ended && call.endReason === "failed" ? <Attempts call={call} /> : null}
      <Failure error={error} />
      {ended ? (
        <button type="button" class="wide" onClick={() => client.dismissCall()}>{t("Close")}</button>
      ) : rings && incoming ? (
        <div class="controls">
          <button type="button" class="control end" disabled={busy} onClick={() => void run(() => client.decline())}><span><Icon name="end" /></span>{t("Decline")}</button>
          <button type="button" class="control take" disabled={busy || call.identityChanged} onClick={() => void run(answer)}><span><Icon name="phone" /></span>{t("Accept")}</button>
        </div>
      ) : (
        <div class="controls">
          {call.stage === "connected" ? (
            <>
              <button type="button" class="control" aria-pressed={call.muted} onClick={() => void run(() => client.setMuted(!call.muted))}><span><Icon name={call.muted ? "muted" : "mic"} /></span>{t("Mute")}</button>
              <button type="button" class="control" aria-pressed={call.held} onClick={() => void run(() => client.setHeld(!call.held))}><span><Icon name="hold" /></span>{t("Hold")}</button>
            </>
          ) : null}
          <button type="button" class="control end" onClick={() => void run(() => client.hangup())}><span><Icon name="end" /></span>{rings ? t("Cancel") : t("Hang up")}</button>
        </div>
      )}
    </>
  );
}

function Status({ call }: { call: CallState }) {
  const { state: { connection } } = useTalk();
  const now = useNow(call.stage === "connected");
  const cut = connection.status === "waiting" || connection.status === "connecting";
  let text: string;
  if (call.stage === "ended") text = call.endReason === null ? t("Call ended") : ENDS[call.endReason](call);
  else if (cut && connection.cause === "no_network") text = t("No network. The call waits for it.");
  else if (cut && call.stage !== "connected") text = t("Reconnecting to the server…");
  else if (cut && call.media === "flowing") text = t("The server is not reached for the moment. You can go on talking.");
  else if (call.stage === "connected") text = call.media === "interrupted" ? t("Connection interrupted, trying again…") : call.peerHeld ? t("On hold by the other side") : call.peerMuted ? t("Their microphone is off") : call.held ? t("On hold") : t("Connected");
  else if (call.stage === "connecting") text = t("Connecting…");
  else if (call.direction === "incoming") text = t("is calling you");
  else text = call.stage === "ringing" ? t("Ringing…") : t("Calling…");
  const talked = call.stage === "ended" && call.connectedAt !== null && call.endedAt !== null ? ` · ${clock(call.endedAt - call.connectedAt)}` : "";
  return (
    <>
      {call.stage === "connected" && call.connectedAt !== null ? <p class="timer" role="timer" aria-label={t("Duration")}>{clock(Math.max(now, call.connectedAt) - call.connectedAt)}</p> : null}
      <p key="status" class="status" role="status">{text}{talked}</p>
    </>
  );
}

export const WAYS: Record<Rung, Message> = {
  host: "direct, within one network",
  srflx: "direct",
  turn_udp: "through a TURN server (UDP)",
  turn_tcp: "through a TURN server (TCP)",
  turn_tls: "through a TURN server (TLS)",
  turn_peer: "through the other side's TURN server",
  relay: "through the server's relay",
};

export const QUALITY: Record<CallState["quality"]["level"], Message> = { good: "Good connection", fair: "Fair connection", poor: "Poor connection", unknown: "Measuring…" };

function Details({ call, name }: { call: CallState; name: string }) {
  const { client } = useTalk();
  const { busy, error, run } = useAction();
  const { quality } = call;
  const milliseconds = (value: number | null) => (value === null ? "–" : number(value, { style: "unit", unit: "millisecond", maximumFractionDigits: 0 }));
  const percent = (value: number | null) => (value === null ? "–" : number(value / 100, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 }));
  return (
    <div class="card stack tight">
      {call.stage === "connected" ? (
        <details>
          <summary><span class={`bars ${quality.level}`} aria-hidden="true"><i /><i /><i /></span>{t(QUALITY[quality.level])}</summary>
          <dl>
            <dt>{t("Round trip")}</dt><dd>{milliseconds(quality.rttMs)}</dd>
            <dt>{t("Jitter")}</dt><dd>{milliseconds(quality.jitterMs)}</dd>
            <dt>{t("Lost")}</dt><dd>{percent(quality.lossPercent)}</dd>
            <dt>{t("Made up for loss")}</dt><dd>{percent(quality.concealedPercent)}</dd>
            <dt>{t("Quality")}</dt><dd>{quality.mos === null ? "–" : t("{score} of 4.4 (MOS)", { score: number(quality.mos, { minimumFractionDigits: 1, maximumFractionDigits: 1 }) })}</dd>
            <dt>{t("Way")}</dt><dd>{quality.rung === null ? "–" : t("{way}; encrypted between the two of you", { way: t(WAYS[quality.rung]) })}</dd>
          </dl>
        </details>
      ) : null}
      {call.safetyNumber !== null ? (
        <details open={call.identityChanged}>
          <summary><Icon name="shield" />{t("Safety number")}</summary>
          <div class="stack tight">
            <SafetyNumber digits={call.safetyNumber} />
            <p class="soft small">{t("Read it to each other. If it is the same on both sides, nobody stands between you and {name}.", { name })}</p>
            <Failure error={error} />
            <button type="button" aria-pressed={call.peer.verified} disabled={busy} onClick={() => void run(() => client.markVerified(call.peer.account, !call.peer.verified))}>
              {call.peer.verified ? t("Verified") : t("Mark as verified")}
            </button>
          </div>
        </details>
      ) : null}
    </div>
  );
}
