import { useNow } from "../../../common/parts";
import { ask } from "../api";
import { Meter } from "../charts";
import { Reasoned, Title, useMay, useSigned } from "../ui";
import type { HubInfo, RelayInfo } from "../wire";
import { bytes, duration } from "../words";

/** Hubs and relays with how much they have to do. */
export function Fleet() {
  const { live } = useSigned();
  const mayDrain = useMay("hubs.drain");
  const now = useNow();
  const overview = live.overview;
  if (overview === null) return <div class="stack"><Title>Hubs and relays</Title><p class="soft" role="status">Connecting…</p></div>;
  return (
    <div class="stack">
      <Title>Hubs and relays</Title>
      <h2>Hubs</h2>
      <ul class="cards">{overview.hubs.map((hub) => <li key={hub.hub} class="card stack"><Hub hub={hub} now={now} drain={mayDrain && overview.hubs.length > 1} /></li>)}</ul>
      {overview.hubs.length === 1 ? <p class="soft small">One hub cannot be drained: there is none to hand its clients over to.</p> : null}
      <h2>Relays</h2>
      {overview.relays.length === 0 ? <p class="note warn">No relay runs: calls that no direct way and no TURN server carries fail.</p> : null}
      <ul class="cards">{overview.relays.map((relay) => <li key={relay.relay} class="card stack"><Relay relay={relay} now={now} drain={mayDrain && overview.relays.length > 1} /></li>)}</ul>
    </div>
  );
}

function Hub({ hub, now, drain }: { hub: HubInfo; now: number; drain: boolean }) {
  const calls = Object.values(hub.calls ?? {}).reduce((sum, number) => sum + number, 0);
  return (
    <>
      <div class="row between"><h3>{hub.name === undefined ? "Starting" : hub.name.split(" ")[0]} <code>{hub.hub.slice(0, 4)}</code></h3>{hub.draining === true ? <span class="badge bad">Drains</span> : hub.this === true ? <span class="badge quiet">answers here</span> : null}</div>
      <dl>
        <dt>Devices</dt><dd>{hub.devices ?? 0}</dd>
        <dt>Calls placed</dt><dd>{calls}</dd>
        <dt>Memory</dt><dd>{hub.memory === undefined ? "–" : bytes(hub.memory)}</dd>
        <dt>Version</dt><dd>{hub.version ?? "–"}{hub.started_at === undefined ? "" : `, up ${duration(now - hub.started_at)}`}</dd>
      </dl>
      <Load cpu={hub.cpu} lag={hub.lag} />
      {drain && hub.draining !== true ? (
        <Reasoned label="Drain" name={`Drain hub ${hub.hub.slice(0, 4)}`} yes="Drain the hub" question="It takes no new clients, hands those it has over to the other hubs, and ends. Calls go on. What supervises it starts it again."
          action={(reason) => ask("POST", `/hubs/${hub.hub}/drain`, { reason })} />
      ) : null}
    </>
  );
}

function Relay({ relay, now, drain }: { relay: RelayInfo; now: number; drain: boolean }) {
  return (
    <>
      <h3>{relay.name === undefined ? "Relay" : relay.name.split(" ")[0]} <code>{relay.relay.slice(0, 4)}</code></h3>
      <Meter label="Calls" value={relay.calls / Math.max(1, relay.capacity)} text={`${relay.calls} of ${relay.capacity}`} bad={relay.calls >= 0.9 * relay.capacity} />
      <dl>
        <dt>Devices there</dt><dd>{relay.legs ?? 0}</dd>
        <dt>Packets</dt><dd>{Math.round(relay.packets ?? 0)} a second</dd>
        <dt>Held off</dt><dd>{Math.round(relay.dropped ?? 0)} a second</dd>
        <dt>Up</dt><dd>{relay.started_at === undefined ? "–" : duration(now - relay.started_at)}</dd>
      </dl>
      <Load cpu={relay.cpu} lag={relay.lag} />
      {drain ? (
        <Reasoned label="Drain" name={`Drain relay ${relay.relay.slice(0, 4)}`} yes="Drain the relay" question="Its calls move to the other relays with a short gap, and it ends. What supervises it starts it again."
          action={(reason) => ask("POST", `/relays/${relay.relay}/drain`, { reason })} />
      ) : null}
    </>
  );
}

function Load({ cpu, lag }: { cpu: number | undefined; lag: number | undefined }) {
  return (
    <>
      <Meter label="CPU of one core" value={cpu ?? 0} text={cpu === undefined ? "–" : `${Math.round(100 * cpu)} %`} bad={(cpu ?? 0) > 0.8} />
      <Meter label="Event loop late" value={(lag ?? 0) / 0.25} text={lag === undefined ? "–" : duration(1000 * lag)} bad={(lag ?? 0) > 0.1} />
    </>
  );
}
