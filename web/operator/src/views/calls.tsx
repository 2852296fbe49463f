import { useEffect, useState } from "preact/hooks";
import { useAction, useNow } from "../../../common/parts";
import { ask } from "../api";
import { LineChart, Sparkline } from "../charts";
import { Account, CallLink, Failure, Figure, Reasoned, Table, Title, useMay, useSigned } from "../ui";
import type { CallSummary, EndedCalls, MeasuredAt, QualityPoint, Reason } from "../wire";
import { BAD, duration, lineText, percent, REASONS, RUNGS, short, STAGES, time, when } from "../words";

/** Live calls, those that ended, and the way to one of them. `account`: only those of one. */
export function Calls({ account }: { account: string | null }) {
  const { live } = useSigned();
  const now = useNow();
  const [looking, setLooking] = useState("");
  const [wrong, setWrong] = useState<string | null>(null);
  const calls = (live.calls?.calls ?? []).filter((call) => account === null || call.caller === account || call.callee === account);
  function look(event: Event) {
    event.preventDefault();
    const id = looking.trim();
    if (/^[\w-]{22}$/u.test(id)) location.hash = `#/calls/${id}`;
    else setWrong("A call's id has 22 letters, digits, dashes or underscores.");
  }
  return (
    <div class="stack">
      <Title lead={account === null ? undefined : <>of account <Account pseudonym={account} /> · <a href="#/calls">all calls</a></>}>Calls</Title>
      <form class="search" role="search" onSubmit={look}>
        <label for="call-id">Find a call by its id</label>
        <div class="row"><input id="call-id" type="search" spellcheck={false} autocomplete="off" value={looking} onInput={(e) => { setLooking(e.currentTarget.value); setWrong(null); }} /><button type="submit">Find</button></div>
        <div role="alert">{wrong === null ? null : <p class="error">{wrong}</p>}</div>
      </form>
      <section class="card stack">
        <h2>Live{live.calls === null ? "" : ` (${account === null ? Math.max(live.calls.total, calls.length) : calls.length})`}</h2>
        {live.calls !== null && live.calls.total > live.calls.calls.length ? <p class="soft small">Of these, {live.calls.calls.length} are shown: those that are being set up first.</p> : null}
        <Table label="Live calls" columns={["Call", "Stage", "For", "From", "To", "Way", "Heard", "Hub"]} empty={live.calls === null ? "Connecting…" : "No call goes on."}
          rows={calls.map((call) => ({
            key: call.call,
            cells: [
              <CallLink call={call.call} />, <StageBadge call={call} />, duration(Math.max(0, now - (call.connected_at ?? call.started_at))),
              <Account pseudonym={call.caller} />, <Account pseudonym={call.callee} />, call.rung === undefined ? "–" : RUNGS[call.rung],
              <Sparkline scores={call.heard ?? []} />, <Hubs call={call} />,
            ],
          }))} />
      </section>
      <Ended account={account} />
    </div>
  );
}

function Hubs({ call }: { call: CallSummary }) {
  const hubs = [...new Set([call.caller_hub, call.callee_hub].filter((hub) => hub !== undefined))];
  return <span>{hubs.length === 0 ? "–" : hubs.map((hub) => <code key={hub}>{hub.slice(0, 4)} </code>)}{call.relay === undefined ? null : <span class="badge">relay {call.relay.slice(0, 4)}</span>}</span>;
}

function StageBadge({ call }: { call: CallSummary }) {
  if (call.reason !== undefined) return <span class={BAD.has(call.reason) ? "badge bad" : "badge quiet"}>{REASONS[call.reason]}</span>;
  return <span class={call.stage === "connected" ? "badge" : "badge quiet"}>{STAGES[call.stage]}</span>;
}

function Ended({ account }: { account: string | null }) {
  const [reason, setReason] = useState<Reason | "">("");
  const [pages, setPages] = useState<EndedCalls[]>([]);
  const { busy, error, run } = useAction();
  function load(before: number | undefined, kept: EndedCalls[]) {
    const query = new URLSearchParams({ ...(before === undefined ? {} : { before: String(before) }), ...(reason === "" ? {} : { reason }), ...(account === null ? {} : { account }) });
    void run(async () => setPages([...kept, await ask<EndedCalls>("GET", `/calls?${query}`)]));
  }
  useEffect(() => load(undefined, []), [reason, account]);
  const next = pages.at(-1)?.next;
  return (
    <section class="card stack">
      <div class="row between">
        <h2>Ended</h2>
        <span class="row"><label for="why">Only</label>
          <select id="why" value={reason} disabled={busy} onChange={(e) => setReason(e.currentTarget.value as Reason | "")}>
            <option value="">all reasons</option>
            {Object.entries(REASONS).filter(([value]) => value !== "moved").map(([value, name]) => <option key={value} value={value}>{name}</option>)}
          </select>
          <button type="button" class="plain" disabled={busy} onClick={() => load(undefined, [])}>Reload</button>
        </span>
      </div>
      <Failure error={error} />
      <Table label="Calls that ended" columns={["Call", "Ended", "Why", "Talked", "From", "To", "Way", "Set-up"]} empty={busy ? "Loading…" : "None that are still kept."}
        rows={pages.flatMap((page) => page.calls).map((call) => ({
          key: call.call,
          cells: [
            <CallLink call={call.call} />, when(call.ended_at ?? 0), <StageBadge call={call} />,
            call.connected_at === undefined ? "–" : duration((call.ended_at ?? 0) - call.connected_at),
            <Account pseudonym={call.caller} />, <Account pseudonym={call.callee} />, call.rung === undefined ? "–" : RUNGS[call.rung],
            call.set_up === undefined ? "–" : duration(call.set_up),
          ],
        }))} />
      {next === undefined ? null : <button type="button" disabled={busy} onClick={() => load(next, pages)}>Show more</button>}
    </section>
  );
}

/** One call: its time line, and how it is heard. */
export function CallView({ call: id }: { call: string }) {
  const { live } = useSigned();
  const mayEnd = useMay("calls.end");
  const now = useNow();
  const back = <a href="#/calls">All calls</a>;
  const detail = live.call;
  if (!/^[\w-]{22}$/u.test(id) || detail === "gone") {
    return <div class="stack"><Title lead={back}>No such call</Title><p>No call with this id goes on, or has ended in the days for which calls are kept.</p></div>;
  }
  if (detail === null || detail.call.call !== id) return <div class="stack"><Title lead={back}>Call</Title><p class="soft" role="status">Loading…</p></div>;
  const { call, timeline, quality } = detail;
  const start = call.started_at;
  return (
    <div class="stack">
      <Title lead={<>{back} · <code class="wrap">{call.call}</code></>}>Call</Title>
      <section class="figures" aria-label="The call">
        <Figure label="Stage" value={<StageBadge call={call} />} />
        <Figure label={call.ended_at === undefined ? "For" : "Talked"} value={call.ended_at === undefined ? duration(Math.max(0, now - (call.connected_at ?? start))) : call.connected_at === undefined ? "–" : duration(call.ended_at - call.connected_at)} />
        <Figure label="Set-up" value={call.set_up === undefined ? "–" : duration(call.set_up)} />
        <Figure label="Way" value={call.rung === undefined ? "–" : RUNGS[call.rung]} />
      </section>
      <section class="card">
        <dl>
          <dt>Caller</dt><dd><Account pseudonym={call.caller} />{call.caller_hub === undefined ? null : <> on hub <code>{short(call.caller_hub)}</code></>}</dd>
          <dt>Callee</dt><dd><Account pseudonym={call.callee} />{call.callee_hub === undefined ? null : <> on hub <code>{short(call.callee_hub)}</code></>}</dd>
          {call.relay === undefined ? null : <><dt>Relay</dt><dd><code>{call.relay}</code></dd></>}
          <dt>Made</dt><dd>{when(start)}</dd>
        </dl>
        {mayEnd && call.stage !== "ended" ? (
          <Reasoned label="End this call" yes="End the call" question="Both sides see that the call ended. They can call again." action={(reason) => ask("POST", `/calls/${id}/end`, { reason })} />
        ) : null}
      </section>
      <section class="card stack">
        <h2>Time line</h2>
        <ol class="timeline">
          {timeline.map((line, i) => (
            <li key={i} class={line.what === "dip" || line.what === "left" || (line.what === "ended" && call.reason !== undefined && BAD.has(call.reason)) ? "bad" : line.what === "connected" ? "good" : ""}>
              <time dateTime={new Date(line.at).toISOString()}>{time(line.at)} <span class="soft">+{duration(line.at - start)}</span></time>
              <span>{lineText(line)}{line.what === "ended" && call.reason !== undefined ? `: ${REASONS[call.reason].toLowerCase()}` : ""}</span>
            </li>
          ))}
        </ol>
      </section>
      <Quality points={quality} />
    </div>
  );
}

const NAMES = ["From the caller", "From the callee"];

/** Where quality is measured, and what that leaves out. */
const MEASURED: Record<MeasuredAt, { title: string; note: string }> = {
  device: { title: "Quality as it is heard", note: "Counted by the device that hears it, whose user has allowed it." },
  relay: { title: "Quality at the relay", note: "What the relay sees of packets on their way from a device to it." },
};

function Quality({ points }: { points: readonly QualityPoint[] }) {
  if (points.length === 0) {
    return (
      <section class="card stack">
        <h2>Quality</h2>
        <p class="soft">Nothing has been measured. A relay sees packets' headers of the calls that it carries; how other calls are heard is known where their users have allowed that it is kept.</p>
      </section>
    );
  }
  const by = (point: QualityPoint): MeasuredAt => point.by ?? "relay";
  return <>{(["device", "relay"] as const).map((at) => ({ at, some: points.filter((point) => by(point) === at) })).map(({ at, some }) => (some.length === 0 ? null : <Measured key={at} at={at} points={some} />))}</>;
}

function Measured({ at, points }: { at: MeasuredAt; points: readonly QualityPoint[] }) {
  const { title, note } = MEASURED[at];
  const series = (value: (point: QualityPoint) => number | undefined) => NAMES.map((name, side) => ({
    name, points: points.filter((p) => p.side === side && value(p) !== undefined).map((p) => ({ at: p.at, value: value(p) ?? 0 })),
  }));
  const charts: { label: string; value: (point: QualityPoint) => number | undefined; most: number; unit: (value: number) => string }[] = [
    { label: "Packets lost", value: (p) => p.loss, most: 0.05, unit: (value) => percent(value) },
    { label: "Jitter", value: (p) => p.jitter, most: 0.03, unit: (value) => duration(1000 * value) },
    { label: "Round trip", value: (p) => p.rtt, most: 0.2, unit: (value) => duration(1000 * value) },
  ];
  return (
    <section class="card stack">
      <h2>{title}</h2>
      <p class="soft small">{note}</p>
      <h3>Opinion score</h3>
      <LineChart label={`${title}: opinion score`} series={series((p) => p.mos)} least={1} most={4.5} mark={3.1} unit={(value) => value.toFixed(1)} />
      <div class="columns">
        {charts.map(({ label, value, most, unit }) => (
          <div key={label}><h3>{label}</h3><LineChart label={`${title}: ${label.toLowerCase()}`} series={series(value)} least={0} most={Math.max(most, ...points.map((p) => value(p) ?? 0))} unit={unit} /></div>
        ))}
      </div>
    </section>
  );
}
