import { finding, KloudTalkError, type CallState, type Finding } from "@kloudtalk/sdk";
import { useEffect, useRef, useState } from "preact/hooks";
import { ltr, type Message, number, t } from "../i18n";
import { Icon } from "../icons";
import { Failure, Title, useAction, useTalk } from "../ui";
import { Attempts } from "./attempts";
import { WAYS } from "./call";

type Tone = "" | "warn" | "bad";

/** What was found, and what to do about it. */
const FOUND: Record<Finding, { tone: Tone; said: Message; advice: Message | null }> = {
  connecting: { tone: "", said: "Calling the echo…", advice: null },
  checking: { tone: "", said: "Listening…", advice: "Say something after the greeting. You should hear it a second later." },
  busy: { tone: "warn", said: "The echo is busy with other calls.", advice: "Please try again in a minute." },
  away: { tone: "warn", said: "The echo does not answer.", advice: "It seems to be switched off for the moment. Your calls to people are not affected." },
  nothing_through: { tone: "bad", said: "No sound gets through to the server, and none back.", advice: "A firewall or the network stops it. Try another network, or ask whoever runs this one to let UDP through." },
  nothing_out: { tone: "bad", said: "What you say does not leave this device.", advice: "The call is there, but no sound goes out. Check that no other program holds the microphone, then reload the page." },
  nothing_back: { tone: "bad", said: "The echo hears you, but nothing comes back.", advice: "A firewall lets sound out and not in. Try another network." },
  silent: { tone: "bad", said: "Your microphone is silent.", advice: "It is switched off, covered, or not the one you speak into. Look for a switch on the headset, and choose another microphone in your browser or system." },
  quiet: { tone: "warn", said: "Your microphone is very quiet.", advice: "Come closer, or turn it up in your system’s settings." },
  too_loud: { tone: "warn", said: "Your microphone is too loud: it rattles.", advice: "Turn it down in your system’s settings, or move away from it." },
  loss_out: { tone: "warn", said: "Much of what you say gets lost on the way.", advice: "Others hear gaps. Move closer to the Wi-Fi, use a cable, or stop other downloads and uploads." },
  loss_back: { tone: "warn", said: "Much of what you should hear gets lost on the way.", advice: "You hear gaps. Move closer to the Wi-Fi, use a cable, or stop other downloads." },
  well: { tone: "", said: "All is well: you are heard, and sound comes back.", advice: "If you do not hear yourself, turn up the loudspeaker or choose another one." },
};

/** dB that the meters show: from a quiet room to full scale. */
const METER_FROM = -70;

/** “Is my microphone working?”: a test call, explained. Leaving the view ends it. */
export function SoundCheck() {
  const { client, state } = useTalk();
  const { busy, error, run, code } = useAction();
  const [last, setLast] = useState<CallState | null>(null);
  const call = state.call !== null && state.call.peer.account === state.echo ? state.call : null;
  const going = call !== null && call.stage !== "ended";
  useEffect(() => {
    if (call === null) return;
    setLast(call);
    if (call.stage === "ended") client.dismissCall();
  }, [call]);
  useEffect(() => () => {
    const { call: now, echo } = client.state;
    if (now !== null && now.peer.account === echo && now.stage !== "ended") client.hangup().catch(() => undefined); // without the server it ends by itself
  }, []);
  const shown = call ?? last;
  const found = shown === null ? null : finding(shown, shown.heard);
  const said = found === null || (!going && (found === "checking" || found === "connecting")) ? null : FOUND[found];
  return (
    <div class="stack">
      <Title lead={t("A test call to this server’s echo: a greeting, then what you say, a second later. It is encrypted as every call is, and nothing is recorded.")}>{t("Sound check")}</Title>
      <div class="card stack">
        {error !== null && error instanceof KloudTalkError && code === "not_found" ? <p class="note warn" role="alert"><Icon name="warning" />{t("This server has no echo to call.")}</p> : <Failure error={error} />}
        <div role="status" class="stack tight">
          {said === null ? null : (
            <div class={`note ${said.tone}`}>
              <Icon name={said.tone === "" ? (found === "well" ? "shield" : "mic") : "warning"} />
              <div class="grow">
                <p><strong>{t(said.said)}</strong></p>
                {said.advice === null ? null : <p>{t(said.advice)}</p>}
                {found === "nothing_through" && shown !== null ? <Attempts call={shown} /> : null}
              </div>
            </div>
          )}
        </div>
        {going ? (
          <>
            <Meter label={t("Your microphone")} stream={client.localStream} />
            <Meter label={t("What comes back")} stream={client.remoteStream} />
          </>
        ) : null}
        {going ? <button type="button" class="wide" onClick={() => void run(() => client.hangup())}>{t("Stop")}</button> : (
          <button type="button" class="primary wide" disabled={busy || state.call !== null} onClick={() => { setLast(null); void run(() => client.soundCheck()); }}>
            <Icon name="mic" />{last === null ? t("Check my sound") : t("Check again")}
          </button>
        )}
        {shown === null ? null : <Measured call={shown} />}
      </div>
      <p><a href="#/settings">{t("Back to the settings")}</a></p>
    </div>
  );
}

function Measured({ call }: { call: CallState }) {
  const { heard, quality } = call;
  if (heard === null) return null;
  const lost = (gone: number, came: number) => number(gone + came === 0 ? 0 : gone / (gone + came), { style: "percent", maximumFractionDigits: 1 });
  return (
    <dl>
      <dt>{t("Loudest so far")}</dt><dd>{ltr(`${number(Math.round(heard.loudest) + 0)} dB`)}</dd>
      <dt>{t("Lost on the way there")}</dt><dd>{lost(heard.lost, heard.packets)}</dd>
      <dt>{t("Lost on the way back")}</dt><dd>{lost(quality.packetsLost, quality.packetsReceived)}</dd>
      <dt>{t("Round trip")}</dt><dd>{quality.rttMs === null ? "–" : `${number(quality.rttMs, { maximumFractionDigits: 0 })} ms`}</dd>
      <dt>{t("Way")}</dt><dd>{quality.rung === null ? "–" : t(WAYS[quality.rung])}</dd>
      <dt>{t("Quality")}</dt><dd>{quality.mos === null ? "–" : t("{score} of 4.4 (MOS)", { score: number(quality.mos, { minimumFractionDigits: 1, maximumFractionDigits: 1 }) })}</dd>
    </dl>
  );
}

/** How loud a stream is, now. */
function Meter({ label, stream }: { label: string; stream: MediaStream | null }) {
  const meter = useRef<HTMLMeterElement>(null);
  const tracks = stream?.getAudioTracks().length ?? 0;
  useEffect(() => {
    if (stream === null || tracks === 0) return;
    let context: AudioContext;
    try {
      context = new AudioContext();
    } catch {
      return; // no audio device at all: the words above have to do
    }
    void context.resume().catch(() => undefined);
    const analyser = context.createAnalyser();
    analyser.fftSize = 2048;
    context.createMediaStreamSource(stream).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const timer = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      const peak = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
      if (meter.current !== null) meter.current.value = Math.max(METER_FROM, 20 * Math.log10(peak + 1e-9));
    }, 80);
    return () => {
      clearInterval(timer);
      void context.close();
    };
  }, [stream, tracks]);
  return <label class="stack tight">{label}<meter ref={meter} min={METER_FROM} low={-50} high={-3} optimum={-20} max={0} value={METER_FROM} /></label>;
}
