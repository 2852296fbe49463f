import { expect, test } from "vitest";
import { toBase64url } from "../src/bytes.js";
import type { Core } from "../src/core.js";
import { KloudTalkError } from "../src/errors.js";
import { Pushes } from "../src/push.js";
import { INITIAL } from "../src/state.js";

const KEY = toBase64url(new Uint8Array(65).fill(4));
const OTHER = toBase64url(new Uint8Array(65).fill(5));

/** A browser and a hub of which the test says what they have. */
function make({ subscribed, server, permission = "prompt", refuse }: { subscribed?: string; server?: "web"; permission?: PermissionState; refuse?: DOMException }) {
  const asked: string[] = [];
  const subscription = (key: string) => ({
    endpoint: `https://push.example/${key.slice(0, 4)}`, options: { applicationServerKey: bytes(key) }, getKey: () => new Uint8Array(16).buffer,
    unsubscribe: async () => { asked.push("unsubscribe"); current = null; return true; },
  });
  let current = subscribed === undefined ? null : subscription(subscribed);
  const pushManager = {
    permissionState: async () => permission,
    getSubscription: async () => current,
    subscribe: async ({ applicationServerKey }: { applicationServerKey: Uint8Array }) => {
      if (refuse !== undefined) throw refuse;
      current ??= subscription(toBase64url(applicationServerKey));
      asked.push("subscribe");
      return current;
    },
  };
  const hub = { web: server, fails: false };
  const core = {
    state: INITIAL, self: {}, socket: { online: true },
    set(patch: object) { this.state = { ...this.state, ...patch }; },
    async ask(method: string, _path: string, body?: { endpoint: string }) {
      asked.push(body === undefined ? method : `${method} ${body.endpoint}`);
      if (method === "PUT" && hub.fails) throw new KloudTalkError("invalid");
      if (method === "PUT") hub.web = "web";
      if (method === "DELETE") hub.web = undefined;
      return { kinds: ["web"], vapid_key: KEY, ...(hub.web === undefined ? {} : { subscribed: hub.web }) };
    },
  };
  return { pushes: new Pushes(core as unknown as Core), registration: { pushManager } as unknown as ServiceWorkerRegistration, core, asked, hub };
}
const bytes = (key: string): ArrayBuffer => new Uint8Array(65).fill(key === KEY ? 4 : 5).buffer;

test("nothing is asked of a browser before its user says yes", async () => {
  const { pushes, registration, core, asked } = make({});
  await pushes.use(registration);
  expect(core.state.push).toBe("off");
  expect(asked).toEqual(["GET"]);
});

test("a yes subscribes and tells the server, a no undoes both", async () => {
  const { pushes, registration, core, asked, hub } = make({});
  await pushes.use(registration);
  asked.length = 0;
  await pushes.enable();
  expect(asked).toEqual(["GET", "subscribe", "PUT https://push.example/BAQE"]);
  expect([core.state.push, hub.web]).toEqual(["on", "web"]);
  await pushes.disable();
  expect([core.state.push, hub.web, asked.at(-1)]).toEqual(["off", undefined, "unsubscribe"]);
});

test("what the server has dropped is told again, and what the browser has dropped is taken back", async () => {
  const dropped = make({ subscribed: KEY });
  await dropped.pushes.use(dropped.registration);
  expect(dropped.asked).toEqual(["GET", "subscribe", "PUT https://push.example/BAQE"]);
  const gone = make({ server: "web" });
  await gone.pushes.use(gone.registration);
  expect(gone.asked).toEqual(["GET", "DELETE"]);
  const same = make({ subscribed: KEY, server: "web" });
  await same.pushes.use(same.registration);
  expect(same.asked).toEqual(["GET"]);
});

test("a server with another key gets a subscription for that", async () => {
  const { pushes, registration, asked, core } = make({ subscribed: OTHER, server: "web" });
  await pushes.use(registration);
  expect(asked).toEqual(["GET", "unsubscribe", "subscribe", "PUT https://push.example/BAQE"]);
  expect(core.state.push).toBe("on");
});

test("a no of the user, a push service that is away and a server that refuses are told, and leave it off", async () => {
  for (const [refuse, code] of [[new DOMException("", "NotAllowedError"), "push_denied"], [new DOMException("", "AbortError"), "push_unavailable"]] as const) {
    const { pushes, registration, core } = make({ refuse });
    await pushes.use(registration);
    await expect(pushes.enable()).rejects.toMatchObject({ code });
    expect(core.state.push).toBe("off");
  }
  const { pushes, registration, core, hub } = make({});
  await pushes.use(registration);
  hub.fails = true;
  await expect(pushes.enable()).rejects.toMatchObject({ code: "invalid" });
  expect(core.state.push).toBe("off");
});

test("a browser that forbids it, or cannot, says so", async () => {
  const denied = make({ permission: "denied" });
  await denied.pushes.use(denied.registration);
  expect(denied.core.state.push).toBe("denied");
  const none = make({});
  await none.pushes.use({} as ServiceWorkerRegistration);
  expect(none.core.state.push).toBe("unsupported");
  await expect(none.pushes.enable()).rejects.toMatchObject({ code: "push_unavailable" });
});
