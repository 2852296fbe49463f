// Woken for a call while no page is open. The push says "wake up" and nothing else: who calls is known when the page has connected.
"use strict";

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("push", (event) => event.waitUntil(wake()));

async function wake() {
  const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  for (const page of pages) page.postMessage({ wake: "call" });
  // browsers want every push to be seen; the page takes it away as soon as it rings itself
  await self.registration.showNotification("Somebody is calling you", {
    body: "Open KloudTalk to answer.", tag: "call", renotify: true, requireInteraction: true, icon: "/icon.svg", vibrate: [400, 200, 400, 200, 400],
  });
}

self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(open());
});

async function open() {
  const [page] = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  await (page === undefined ? self.clients.openWindow(self.registration.scope) : page.focus());
}
