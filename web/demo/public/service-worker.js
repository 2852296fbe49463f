// Woken for a call while no page is open. The push says "wake up" and nothing else: who calls is known when the page has connected.
"use strict";

// A worker knows the browser's language only: what was chosen in the page is the page's.
const WORDS = {
  en: ["Somebody is calling you", "Open KloudTalk to answer."],
  de: ["Jemand ruft dich an", "Öffne KloudTalk, um abzunehmen."],
  ar: ["شخص ما يتصل بك", "افتح KloudTalk للرد."],
};
const language = navigator.languages.map((tag) => tag.split("-")[0]).find((tag) => Object.hasOwn(WORDS, tag)) ?? "en";

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("push", (event) => event.waitUntil(wake()));

async function wake() {
  const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  for (const page of pages) page.postMessage({ wake: "call" });
  // browsers want every push to be seen; the page takes it away as soon as it rings itself
  const [title, body] = WORDS[language];
  await self.registration.showNotification(title, {
    body, lang: language, dir: language === "ar" ? "rtl" : "ltr", tag: "call", renotify: true, requireInteraction: true, icon: "/icon.svg", vibrate: [400, 200, 400, 200, 400],
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
