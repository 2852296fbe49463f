/** The service worker that is woken for calls, and what the page does when it was. */
import type { KloudTalkClient } from "@kloudtalk/sdk";

export async function startPush(client: KloudTalkClient): Promise<void> {
  if (!("serviceWorker" in navigator)) return;
  const registration = await navigator.serviceWorker.register("/service-worker.js");
  navigator.serviceWorker.addEventListener("message", () => { client.reconnect(); });
  let call: string | null = null;
  client.subscribe(({ connection, call: now }) => {
    // it rings here, or there is nothing to ring any more: the notification has done its work
    const next = now?.id ?? (connection.status === "online" ? "" : null);
    if (next === null || next === call) return;
    call = next;
    void registration.getNotifications({ tag: "call" }).then((shown) => { for (const one of shown) one.close(); }, () => undefined);
  });
  await client.usePush(registration);
}
