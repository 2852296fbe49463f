/** Small charts, drawn as SVG. Each says in words what it shows; colour is never the only difference. */
import type { Span } from "./wire";
import { duration, minute } from "./words";

const [WIDTH, HEIGHT] = [600, 120];

/** Calls of each five minutes: those that connected, and on top those that did not. */
export function CallBars({ spans }: { spans: readonly Span[] }) {
  const most = Math.max(1, ...spans.map((span) => (span.connected ?? 0) + (span.not_connected ?? 0)));
  const step = WIDTH / Math.max(1, spans.length);
  const [good, bad] = [sum(spans, "connected"), sum(spans, "not_connected")];
  return (
    <figure class="chart">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`Calls over time: ${good} connected, ${bad} did not; at most ${most} in five minutes`}>
        <line class="axis" x1="0" x2={WIDTH} y1={HEIGHT - 0.5} y2={HEIGHT - 0.5} />
        {spans.map((span, i) => {
          const [up, down] = [((span.connected ?? 0) / most) * (HEIGHT - 4), ((span.not_connected ?? 0) / most) * (HEIGHT - 4)];
          return (
            <g key={span.at}>
              <title>{`${minute(span.at)}: ${span.connected ?? 0} connected, ${span.not_connected ?? 0} not`}</title>
              <rect class="good" x={i * step + step * 0.1} width={step * 0.8} y={HEIGHT - up} height={up} />
              <rect class="bad" x={i * step + step * 0.1} width={step * 0.8} y={HEIGHT - up - down} height={down} />
            </g>
          );
        })}
      </svg>
      <Ends from={spans[0]?.at} to={spans.at(-1)?.at} />
    </figure>
  );
}

function sum(spans: readonly Span[], what: "connected" | "not_connected"): number {
  return spans.reduce((total, span) => total + (span[what] ?? 0), 0);
}

function Ends({ from, to }: { from: number | undefined; to: number | undefined }) {
  return <figcaption class="ends" aria-hidden="true"><span>{from === undefined ? "" : minute(from)}</span><span>{to === undefined ? "" : minute(to)}</span></figcaption>;
}

interface Point { at: number; value: number }
interface LineChartProps { label: string; series: { name: string; points: Point[] }[]; least: number; most: number; unit: (value: number) => string; mark?: number }
/** Up to two lines over time; the second is dashed. `mark`: a value worth a line across. */
export function LineChart({ label, series, least, most, unit, mark }: LineChartProps) {
  const all = series.flatMap(({ points }) => points);
  const [from, to] = [Math.min(...all.map((p) => p.at)), Math.max(...all.map((p) => p.at))];
  const x = (at: number) => (to === from ? WIDTH : ((at - from) / (to - from)) * WIDTH);
  const y = (value: number) => HEIGHT - 3 - ((Math.min(most, Math.max(least, value)) - least) / (most - least)) * (HEIGHT - 6);
  const said = series.map(({ name, points }) => (points.length === 0 ? `${name}: nothing measured` :
    `${name}: ${unit(Math.min(...points.map((p) => p.value)))} to ${unit(Math.max(...points.map((p) => p.value)))}, now ${unit(points.at(-1)?.value ?? 0)}`));
  return (
    <figure class="chart">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`${label}. ${said.join("; ")}`}>
        <line class="axis" x1="0" x2={WIDTH} y1={HEIGHT - 0.5} y2={HEIGHT - 0.5} />
        {mark === undefined ? null : <line class="mark" x1="0" x2={WIDTH} y1={y(mark)} y2={y(mark)} />}
        {series.map(({ name, points }, i) => <polyline key={name} class={i === 0 ? "one" : "two"} points={points.map((p) => `${x(p.at).toFixed(1)},${y(p.value).toFixed(1)}`).join(" ")} />)}
      </svg>
      <figcaption class="legend">
        {series.map(({ name, points }, i) => <span key={name}><svg class="key" viewBox="0 0 24 8" aria-hidden="true"><line class={i === 0 ? "one" : "two"} x1="0" x2="24" y1="4" y2="4" /></svg>{name} {points.length === 0 ? "–" : unit(points.at(-1)?.value ?? 0)}</span>)}
        {all.length === 0 ? null : <span class="soft">{duration(to - from)}</span>}
      </figcaption>
    </figure>
  );
}

/** Opinion scores of the last minutes, so small that it fits into a row; the last one as a number. */
export function Sparkline({ scores }: { scores: readonly number[] }) {
  const last = scores.at(-1);
  if (last === undefined) return <span class="soft" title="Nobody measures">–</span>;
  const [width, height] = [72, 20];
  const x = (i: number) => (scores.length === 1 ? width : (i / (scores.length - 1)) * width);
  const y = (value: number) => height - 2 - ((Math.min(4.5, Math.max(1, value)) - 1) / 3.5) * (height - 4);
  const said = `Opinion score of the last minutes: ${Math.min(...scores).toFixed(1)} to ${Math.max(...scores).toFixed(1)}, now ${last.toFixed(1)}`;
  return (
    <span class={last < 3.1 ? "spark bad" : "spark"}>
      <svg viewBox={`0 0 ${width} ${height}`} role="img" aria-label={said}>
        <line class="mark" x1="0" x2={width} y1={y(3.1)} y2={y(3.1)} />
        <polyline class="one" points={scores.map((value, i) => `${x(i).toFixed(1)},${y(value).toFixed(1)}`).join(" ")} />
      </svg>
      <span class="number" aria-hidden="true">{last.toFixed(1)}</span>
    </span>
  );
}

/** A share as a bar with its number. */
export function Meter({ label, value, text, bad = false }: { label: string; value: number; text: string; bad?: boolean }) {
  const share = Math.min(1, Math.max(0, value));
  return (
    <div class="meter" role="meter" aria-label={label} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(100 * share)} aria-valuetext={text}>
      <span class="soft small">{label}</span><span class="number">{text}</span>
      <svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true"><rect class="rail" width="100" height="6" /><rect class={bad ? "bad" : "good"} width={100 * share} height="6" /></svg>
    </div>
  );
}

/** Counts by name, largest first, as bars. */
export function Ranking({ label, rows }: { label: string; rows: { name: string; number: number; bad?: boolean }[] }) {
  const total = rows.reduce((sum, row) => sum + row.number, 0);
  if (total === 0) return <p class="soft">Nothing yet.</p>;
  return (
    <ul class="ranking" aria-label={label}>
      {rows.map(({ name, number, bad }) => (
        <li key={name}>
          <span>{name}</span><span class="number">{number} <span class="soft">({((100 * number) / total).toFixed(0)} %)</span></span>
          <svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true"><rect class="rail" width="100" height="6" /><rect class={bad === true ? "bad" : "good"} width={(100 * number) / total} height="6" /></svg>
        </li>
      ))}
    </ul>
  );
}
