import type { CallRecord, RecordedQuality } from "@kloudtalk/sdk";
import { useEffect } from "preact/hooks";
import { number, t } from "../i18n";
import { Icon } from "../icons";
import { QUALITY } from "./call";
import { clock, Confirmed, day, Failure, nobody, Title, useAction, useTalk } from "../ui";

const REASONS: Record<CallRecord["reason"], (record: CallRecord) => string> = {
  hangup: (record) => (record.connectedAt === null ? t("Not connected") : clock(record.endedAt - record.connectedAt)),
  declined: () => t("Declined"),
  busy: () => t("Busy"),
  missed: (record) => (record.outgoing ? t("No answer") : t("Missed")),
  cancelled: (record) => (record.outgoing ? t("Cancelled") : t("Missed")),
  answered_elsewhere: () => t("Answered on another device"),
  failed: () => t("Could not connect"),
  lost: (record) => (record.connectedAt === null ? t("Connection lost") : t("{duration}, connection lost", { duration: clock(record.endedAt - record.connectedAt) })),
  unavailable: () => t("Not available"),
  moved: () => t("Continued on another device"), // never the end of a whole call
};

export function History() {
  const { client, state } = useTalk();
  const { busy, error, run } = useAction();
  useEffect(() => { void run(() => client.history()); }, []);
  useEffect(() => { if (error !== null) scrollTo(0, 0); }, [error]); // what went wrong is said above the list
  return (
    <div class="stack">
      <Title>{t("Calls")}</Title>
      <Failure error={error} />
      {state.history.length === 0 ? (
        <div class="card empty"><Icon name="clock" /><h2>{busy ? t("Loading…") : t("No calls yet")}</h2></div>
      ) : (
        <div class="card">
          <ul class="list">{state.history.map((record) => <Line key={record.call} record={record} call={() => void run(() => client.call(record.peer))} />)}</ul>
        </div>
      )}
      {state.historyNext !== null ? <button type="button" disabled={busy} onClick={() => void run(() => client.moreHistory())}>{t("Show older calls")}</button> : null}
      {state.history.length > 0 ? (
        <Confirmed label={t("Delete all calls")} question={t("Delete your whole call history? It is gone at once and cannot be brought back. The other side keeps its own.")} yes={t("Delete all calls")} action={() => client.forgetAllCalls()} />
      ) : null}
    </div>
  );
}

function Line({ record, call }: { record: CallRecord; call: () => void }) {
  const { client, state } = useTalk();
  const name = (record.peer === state.echo ? t("Sound check") : null) ?? record.name ?? record.phone ?? nobody();
  const missed = !record.outgoing && (record.reason === "missed" || record.reason === "cancelled");
  return (
    <li>
      <span class={missed ? "missed" : "soft"}><Icon name={record.outgoing ? "out" : "in"} /><span class="visually-hidden">{record.outgoing ? t("Outgoing") : t("Incoming")}</span></span>
      <div class="grow">
        <strong>{name}{record.business ? <> <span class="badge">{t("Business")}</span></> : null}</strong>
        {record.quality !== null && record.quality.level !== "unknown" ? <Heard quality={record.quality} /> : null}
        <span class={missed ? "missed small" : "soft small"}>{REASONS[record.reason](record)} · <time dateTime={new Date(record.startedAt).toISOString()}>{day(record.startedAt)}</time></span>
      </div>
      <Confirmed label={<Icon name="trash" />} name={t("Delete the call with {name}", { name })} question={t("Delete this call with {name} from your history?", { name })} yes={t("Delete call")} action={() => client.forgetCall(record.call)} />
      {record.name !== null ? <button type="button" class="round" aria-label={t("Call {name}", { name })} onClick={call}><Icon name="phone" /></button> : null}
    </li>
  );
}

/** How well it was heard: kept with the user's consent only. */
function Heard({ quality }: { quality: RecordedQuality }) {
  const percent = (share: number | null) => (share === null ? "–" : number(share, { style: "percent", maximumFractionDigits: 1 }));
  const lost = t("Lost: {received} received, {sent} sent", { received: percent(quality.lossReceived), sent: percent(quality.lossSent) });
  const trip = quality.rttMs === null ? "" : ` · ${t("Round trip")} ${number(quality.rttMs, { maximumFractionDigits: 0 })} ms`;
  return (
    <span class="soft small block" title={lost + trip}>
      <span class={`bars ${quality.level}`} aria-hidden="true"><i /><i /><i /></span>{" "}
      {t(QUALITY[quality.level])}{quality.mos === null ? "" : ` · ${t("{score} of 4.4 (MOS)", { score: number(quality.mos, { minimumFractionDigits: 1, maximumFractionDigits: 1 }) })}`}
      <span class="visually-hidden">{` · ${lost}${trip}`}</span>
    </span>
  );
}
