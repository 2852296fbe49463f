import { useEffect, useMemo, useState } from "preact/hooks";
import { Guard, useRoute } from "../../common/parts";
import { ApiError, ask, follow, NOTHING, remember, type Live } from "./api";
import { Failure, Signed } from "./ui";
import { AccountView, Accounts } from "./views/accounts";
import { Audit } from "./views/audit";
import { CallView, Calls } from "./views/calls";
import { Desk, RequestView, TicketView } from "./views/desk";
import { Fleet } from "./views/fleet";
import { MeView } from "./views/me";
import { Operators } from "./views/operators";
import { Overview } from "./views/overview";
import { Enrol, SignIn } from "./views/sign-in";
import type { Me, Permission } from "./wire";

export function App() {
  const [me, setMe] = useState<Me | null | "asking" | "unreached">("asking");
  const route = useRoute();
  function refresh() {
    ask<Me>("GET", "/me").then(
      (found) => { remember(found.signed_in); setMe(found); },
      (error: unknown) => setMe(error instanceof ApiError && error.code === "unauthenticated" ? null : "unreached"),
    );
  }
  useEffect(refresh, []);
  useEffect(() => {
    if (me !== "unreached") return;
    const timer = setTimeout(refresh, 3_000);
    return () => clearTimeout(timer);
  }, [me]);
  function leave() {
    remember(null);
    setMe(null);
  }
  if (me === "asking") return <main class="shell bare" aria-busy="true" />;
  if (me === "unreached") return <main class="shell bare narrow"><p class="note warn" role="alert">The server is not reached. This page tries again by itself.</p></main>;
  if (me === null) return route[0] === "enrol" ? <Enrol done={refresh} /> : <SignIn done={refresh} />;
  return <Inside me={me} leave={leave} refresh={refresh} route={route} />;
}

interface Place { href: string; label: string; views: string[]; needs?: Permission }
const PLACES: Place[] = [
  { href: "#/", label: "Overview", views: ["overview"], needs: "operations.read" },
  { href: "#/calls", label: "Calls", views: ["calls"], needs: "operations.read" },
  { href: "#/fleet", label: "Hubs and relays", views: ["fleet"], needs: "operations.read" },
  { href: "#/accounts", label: "Accounts", views: ["accounts"], needs: "accounts.read" },
  { href: "#/desk", label: "Desk", views: ["desk"], needs: "tickets" },
  { href: "#/audit", label: "Audit", views: ["audit"], needs: "audit.read" },
  { href: "#/operators", label: "Operators", views: ["operators"], needs: "operators" },
];

function Inside({ me, leave, refresh, route }: { me: Me; leave: () => void; refresh: () => void; route: string[] }) {
  const [live, setLive] = useState<Live>(NOTHING);
  const [view = "overview", detail] = route;
  const call = view === "calls" && detail !== undefined && /^[\w-]{22}$/u.test(detail) ? detail : null;
  const sees = me.signed_in.permissions.includes("operations.read");
  useEffect(() => {
    setLive((before) => ({ ...before, call: null }));
    return sees ? follow(call, (update) => setLive((before) => ({ ...before, ...update })), leave) : undefined;
  }, [call, sees]);
  const context = useMemo(() => ({ me, live, leave, refresh }), [me, live]);
  const places = PLACES.filter(({ needs }) => needs === undefined || me.signed_in.permissions.includes(needs));
  return (
    <Signed.Provider value={context}>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById("main")?.focus(); }}>Skip to the content</a>
      <header class="top">
        <span class="brand"><img src="/operator/icon.svg" alt="" />KloudTalk <span class="soft">operators</span></span>
        <nav aria-label="Main">
          {places.map((place) => <a key={place.href} href={place.href} aria-current={place.views.includes(view) ? "page" : undefined}>{place.label}</a>)}
        </nav>
        <span class="row right">
          {sees ? <span class={`pill${live.state === "live" ? " good" : ""}`} role="status">{live.state === "live" ? "Live" : live.state === "connecting" ? "Connecting…" : "Interrupted"}</span> : null}
          <a href="#/me" aria-current={view === "me" ? "page" : undefined}>{me.signed_in.operator}</a>
        </span>
      </header>
      <main id="main" class="shell wide" tabIndex={-1}><Guard key={route.join("/")} failed={() => <Failure error={new Error("a view that cannot be drawn")} />}><View view={view} detail={detail} more={route[2]} /></Guard></main>
    </Signed.Provider>
  );
}

function View({ view, detail, more }: { view: string; detail: string | undefined; more: string | undefined }) {
  switch (view) {
    case "calls": return detail === undefined || detail === "of" ? <Calls account={detail === "of" ? more ?? null : null} /> : <CallView key={detail} call={detail} />;
    case "fleet": return <Fleet />;
    case "accounts": return detail === undefined ? <Accounts /> : <AccountView key={detail} pseudonym={detail} />;
    case "desk":
      if (detail === "tickets" && more !== undefined) return <TicketView key={more} ticket={more} />;
      return detail === "requests" && more !== undefined ? <RequestView key={more} request={more} /> : <Desk />;
    case "audit": return <Audit />;
    case "operators": return <Operators />;
    case "me": return <MeView />;
    default: return <Overview />;
  }
}
