// Woken for a call, or an answer of support, while no page is open. The push says which of the two and nothing else: who calls is known when the page
// has connected.
"use strict";

// A worker knows the browser's language only: what was chosen in the page is the page's.
const WORDS = {
  en: { call: ["Somebody is calling you", "Open KloudTalk to answer."], support: ["Support has answered you", "Open KloudTalk to read it."] },
  de: { call: ["Jemand ruft dich an", "Öffne KloudTalk, um abzunehmen."], support: ["Der Support hat dir geantwortet", "Öffne KloudTalk, um es zu lesen."] },
  ar: { call: ["شخص ما يتصل بك", "افتح KloudTalk للرد."], support: ["أجابك الدعم", "افتح KloudTalk لقراءة الرد."] },
};
const language = navigator.languages.map((tag) => tag.split("-")[0]).find((tag) => Object.hasOwn(WORDS, tag)) ?? "en";

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("push", (event) => event.waitUntil(wake(event.data)));

async function wake(data) {
  const what = data?.json?.().wake === "support" ? "support" : "call";
  const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  for (const page of pages) page.postMessage({ wake: what });
  // browsers want every push to be seen; the page takes it away as soon as it rings itself
  const [title, body] = WORDS[language][what];
  await self.registration.showNotification(title, {
    body, lang: language, dir: language === "ar" ? "rtl" : "ltr", tag: what, renotify: true, requireInteraction: what === "call", icon: "/icon.svg", vibrate: what === "call" ? [400, 200, 400, 200, 400] : [200],
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
