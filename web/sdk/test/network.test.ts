import { expect, test } from "vitest";
import { browserNetwork } from "../src/network.js";

/** A window of which the test is the browser. */
function browser() {
  const scope = new EventTarget() as EventTarget & Record<string, unknown>;
  const connection = Object.assign(new EventTarget(), { type: "wifi" });
  const document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  Object.assign(scope, { navigator: { onLine: true, connection }, document });
  const seen: string[] = [];
  const network = browserNetwork(scope as never);
  const stop = network.watch({ returned: () => seen.push("returned"), lost: () => seen.push("lost"), shown: () => seen.push("shown"), asleep: () => seen.push("asleep") });
  return { scope, connection, document, seen, network, stop };
}

test("tells when the network goes and comes, and when the page is seen again", () => {
  const { scope, document, seen, network } = browser();
  scope.dispatchEvent(new Event("offline"));
  scope.dispatchEvent(new Event("online"));
  document.visibilityState = "hidden";
  document.dispatchEvent(new Event("visibilitychange"));
  document.visibilityState = "visible";
  document.dispatchEvent(new Event("visibilitychange"));
  expect(seen).toEqual(["lost", "returned", "shown"]);
  (scope["navigator"] as { onLine: boolean }).onLine = false;
  expect(network.online).toBe(false);
});

test("a page that is put to sleep and woken", () => {
  const { document, seen } = browser();
  document.dispatchEvent(new Event("freeze"));
  document.dispatchEvent(new Event("resume"));
  expect(seen).toEqual(["asleep", "shown"]);
});

test("another kind of network is a new one, another speed is not", () => {
  const { connection, seen } = browser();
  connection.dispatchEvent(new Event("change"));
  expect(seen).toEqual([]);
  connection.type = "cellular";
  connection.dispatchEvent(new Event("change"));
  connection.type = "none";
  connection.dispatchEvent(new Event("change"));
  expect(seen).toEqual(["returned"]);
});

test("nothing is told after the end, and outside of a browser there is always a network", () => {
  const { scope, seen, stop } = browser();
  stop();
  scope.dispatchEvent(new Event("online"));
  expect(seen).toEqual([]);
  const none = browserNetwork({} as never);
  none.watch({ returned: () => undefined, lost: () => undefined, shown: () => undefined, asleep: () => undefined })();
  expect(none.online).toBe(true);
});
