import { useEffect, useState } from "preact/hooks";
import { useLoaded } from "../../../common/parts";
import { ask } from "../api";
import { CallBars, Ranking } from "../charts";
import { Figure, Loading, Title, useSigned } from "../ui";
import type { CallFigures } from "../wire";
import { BAD, country, duration, percent, REASONS, RUNGS } from "../words";

const HOURS = [1, 6, 24] as const;
const AGAIN = 15_000;

/** How the service does: now, and over the last hours. */
export function Overview() {
  const { live } = useSigned();
  const [hours, setHours] = useState<(typeof HOURS)[number]>(1);
  const { value: figures, error, again } = useLoaded(() => ask<CallFigures>("GET", `/figures?hours=${hours}`), hours);
  useEffect(() => {
    const timer = setInterval(again, AGAIN);
    return () => clearInterval(timer);
  }, []);
  const now = live.overview;
  const stages = now?.stages ?? {};
  const count = (...names: string[]) => names.reduce((sum, name) => sum + (stages[name] ?? 0), 0);
  return (
    <div class="stack">
      <Title>Overview</Title>
      {live.state === "interrupted" ? <p class="note warn" role="alert">Live updates are interrupted: what is shown may be old. The page tries again by itself.</p> : null}
      <section class="figures" aria-label="Now">
        <Figure label="In a call" value={now === null ? "–" : count("connected")} />
        <Figure label="Setting up" value={now === null ? "–" : count("inviting", "ringing", "connecting")} />
        <Figure label="Devices" value={now?.devices ?? "–"} />
        <Figure label="Hubs" value={now?.hubs.length ?? "–"} />
        <Figure label="Relays" value={now?.relays.length ?? "–"} {...(now?.relays.length === 0 ? { note: "none runs", bad: true } : {})} />
      </section>
      <div class="row between">
        <h2>Calls that ended</h2>
        <div class="choices" role="group" aria-label="How far back">
          {HOURS.map((choice) => <button key={choice} type="button" aria-pressed={choice === hours} onClick={() => setHours(choice)}>{choice === 1 ? "1 hour" : `${choice} hours`}</button>)}
        </div>
      </div>
      {figures === null ? <Loading error={error} /> : (
        <>
          <section class="figures" aria-label="Calls that ended">
            <Figure label="Calls" value={figures.calls} />
            <Figure label="Success" value={percent(figures.success)} note="of calls that were taken" bad={figures.success !== undefined && figures.success < 0.97} />
            <Figure label="Set-up, median" value={figures.set_up_p50 === undefined ? "–" : duration(figures.set_up_p50)} note="from taking to media" />
            <Figure label="Set-up, 95 %" value={figures.set_up_p95 === undefined ? "–" : duration(figures.set_up_p95)} note="took no longer" />
          </section>
          <section class="card stack"><h3>Over time</h3>
            <CallBars spans={figures.spans} />
            <p class="soft small"><span class="swatch good" aria-hidden="true" /> connected: {figures.connected} <span class="swatch bad" aria-hidden="true" /> taken, and no media: {figures.not_connected}</p>
          </section>
          <div class="columns">
            <section class="card stack"><h3>Why they ended</h3>
              <Ranking label="Why calls ended" rows={Object.entries(figures.reasons).map(([reason, number]) => ({ name: REASONS[reason as keyof typeof REASONS] ?? reason, number, bad: BAD.has(reason) }))} />
            </section>
            <section class="card stack"><h3>Way of the media</h3>
              <Ranking label="Rungs of the ladder" rows={Object.entries(figures.rungs).map(([rung, number]) => ({ name: RUNGS[rung as keyof typeof RUNGS] ?? rung, number }))} />
            </section>
            <section class="card stack"><h3>Country of the caller</h3>
              {figures.countries.length === 0 ? <p class="soft">Shown when at least 20 people stand behind a group.</p> : (
                <ul class="ranking">
                  {figures.countries.map((one) => {
                    const calls = one.connected + one.not_connected;
                    return <li key={one.code}><span>{country(one.code, one.region)}</span><span class="number">{calls} <span class="soft">({percent(calls === 0 ? undefined : one.connected / calls, 0)} connected)</span></span></li>;
                  })}
                </ul>
              )}
            </section>
          </div>
        </>
      )}
    </div>
  );
}
