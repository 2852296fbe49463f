"""One small API over headless Chromium (Playwright) and Debian's Firefox ESR (WebDriver BiDi over a WebSocket).

Elements are found as people find them, by role and name; clicks and keys are real input events. Each browser has a private profile, a fake
microphone with a tone of its own, and dies with the tests.
"""

import asyncio
import base64
import contextlib
import ctypes
import itertools
import json
import math
import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import wave
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import aiohttp
from playwright.async_api import Browser, Playwright, async_playwright
from playwright.async_api import Page as PlaywrightPage

from tests.browser.namespace import command, enter

CHROMIUM = "/usr/bin/chromium"
FIREFOX = "firefox-esr"
CHROMIUM_HZ = 440
FIREFOX_HZ = 880

Scheme = Literal["light", "dark"]

# Finds one visible element by role and accessible name, scrolls it into view and answers where its middle is.
_FIND = """
(role, name, exact) => {
  const kinds = {
    button: "button, [role=button], summary, input[type=submit]", link: "a[href]", checkbox: "input[type=checkbox]", combobox: "select",
    radio: "input[type=radio]", textbox: "textarea, input:not([type=checkbox]):not([type=radio]):not([type=file]):not([type=submit])",
    heading: "h1, h2, h3", dialog: "dialog[open], [role=dialog]",
  };
  const text = (element) => element === null ? "" : element.textContent.replace(/\\s+/g, " ").trim();
  const named = (element) => {
    const by = element.getAttribute("aria-labelledby");
    if (by) return by.split(" ").map((id) => text(document.getElementById(id))).join(" ");
    if (element.getAttribute("aria-label")) return element.getAttribute("aria-label");
    if (element.labels && element.labels.length) return [...element.labels].map(text).join(" ");
    return text(element) || element.getAttribute("title") || "";
  };
  const scope = [...document.querySelectorAll("dialog[open]")].at(-1) ?? document;
  const all = [...scope.querySelectorAll(kinds[role] ?? `[role=${role}]`)];
  if (role === "dialog" && scope !== document) all.push(scope);
  const found = all.filter((element) => {
    const box = element.getBoundingClientRect();
    const own = named(element);
    return box.width > 0 && box.height > 0 && getComputedStyle(element).visibility === "visible"
      && (exact ? own === name : own.toLowerCase().includes(name.toLowerCase()));
  });
  if (found.length === 0) return null;
  const element = found.find((one) => named(one) === name) ?? found[0];
  window.aim = element;
  element.scrollIntoView({ block: "center", behavior: "instant" });
  const box = element.getBoundingClientRect();
  return { x: box.x + box.width / 2, y: box.y + box.height / 2, disabled: element.disabled === true, value: element.value ?? null };
}
"""

# Listens to a stream until the wanted tone is the loudest thing in it; answers the loudest frequency, or null when the time is over.
_HEAR = """
async (wanted, milliseconds) => {
  const audio = [...document.querySelectorAll("audio")].find((element) => element.srcObject);
  if (!audio) return { error: "no audio element plays a stream" };
  const context = new AudioContext();
  await context.resume();
  const analyser = context.createAnalyser();
  analyser.fftSize = 8192;
  context.createMediaStreamSource(audio.srcObject).connect(analyser);
  const bins = new Float32Array(analyser.frequencyBinCount);
  const until = performance.now() + milliseconds;
  let loudest = { hz: 0, db: -Infinity };
  while (performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    analyser.getFloatFrequencyData(bins);
    let best = 1;
    for (let i = 2; i < bins.length; i++) if (bins[i] > bins[best]) best = i;
    const hz = best * context.sampleRate / analyser.fftSize;
    if (bins[best] > loudest.db) loudest = { hz, db: bins[best] };
    // the element must play it too, not only hold it
    if (Math.abs(hz - wanted) < 20 && bins[best] > -70 && !audio.paused && audio.currentTime > 0) { await context.close(); return { hz, db: bins[best] }; }
  }
  await context.close();
  return { error: `heard ${loudest.hz.toFixed(0)} Hz at ${loudest.db} dB, paused ${audio.paused}, played ${audio.currentTime} s` };
}
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a browser runs, when that is not this machine's own network."""

    namespace: str
    secure_origin: str
    """An origin over plain HTTP that is to count as secure: the microphone needs that."""
    hosts: tuple[str, ...]
    """Addresses that may be reached; no browser here asks the real internet for anything."""
    authority: Path | None = None
    """A certificate authority to trust (PEM)."""


def _trust(folder: Path, authority: Path | None) -> None:
    """Add an authority to an NSS database, where browsers look for those of the user."""
    if authority is None:
        return
    if shutil.which("certutil") is None:
        raise RuntimeError("trusting the lab's certificates needs Debian's libnss3-tools: apt-get install libnss3-tools")
    folder.mkdir(parents=True, exist_ok=True)
    database = f"sql:{folder}"
    if not (folder / "cert9.db").exists():
        subprocess.run(["certutil", "-N", "--empty-password", "-d", database], check=True, capture_output=True)
    adding = ["certutil", "-A", "-d", database, "-n", "lab", "-t", "C,,", "-i", str(authority)]
    subprocess.run(adding, check=True, capture_output=True)


def write_tone(path: Path, hz: float, *, seconds: float = 4.0) -> None:
    """Write beeps: a steady tone would be taken for noise by the browser's noise suppression, and removed."""
    rate = 48_000
    frames = bytearray()
    for i in range(int(rate * seconds)):
        t = i / rate
        loud = 0.5 if t % 0.5 < 0.35 else 0.0
        frames += struct.pack("<h", int(32767 * loud * math.sin(2 * math.pi * hz * t)))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(frames))


class Page:
    """One page of one browser."""

    name: str
    hz: int
    console: list[str]

    async def js(self, function: str, *arguments: Any) -> Any:
        """Call a function given as text; its result as data."""
        raise NotImplementedError

    async def click_at(self, x: float, y: float) -> None:
        """Press and release the pointer."""
        raise NotImplementedError

    async def keys(self, text: str) -> None:
        """Type text."""
        raise NotImplementedError

    async def press(self, key: str) -> None:
        """Press one named key: Tab, Enter, Escape, Space."""
        raise NotImplementedError

    async def shot(self, path: Path) -> None:
        """Take a picture of what is seen."""
        raise NotImplementedError

    async def scheme(self, scheme: Scheme) -> None:
        """Prefer light or dark."""
        raise NotImplementedError

    async def goto(self, url: str) -> None:
        """Load a page."""
        raise NotImplementedError

    async def choose_file(self, button: str, path: Path) -> None:
        """Press a button that opens the browser's file dialog, and choose a file."""
        raise NotImplementedError

    async def offline(self, offline: bool) -> None:
        """Take the network from the page, or give it back: the browser tells the page so."""
        raise NotImplementedError("only Chromium can")

    async def deliver_push(self, data: str) -> None:
        """Hand a push to the page's service worker, as the browser does with one that it has decrypted."""
        raise NotImplementedError("only Chromium can")

    async def virtual_authenticator(self) -> None:
        """Give the browser a passkey in software (Chromium only)."""
        raise NotImplementedError

    async def until(self, condition: str, what: str, timeout: float = 20.0) -> Any:
        """Wait until a JavaScript expression is true; looks again whenever the page may have changed."""
        result = await self.js(
            """async (condition, milliseconds) => {
                const until = performance.now() + milliseconds;
                for (;;) {
                  const value = await (new Function("return (" + condition + ")"))();
                  if (value) return { value };
                  if (performance.now() > until) return null;
                  await new Promise((resolve) => setTimeout(resolve, 50));
                }
            }""".replace('(new Function("return (" + condition + ")"))()', f"({condition})"),
            condition,
            timeout * 1000,
        )
        if result is None:
            said = await self.text()
            raise AssertionError(
                f"{self.name}: waited {timeout:.0f} s for {what}; console: {self.console[-5:]}; the page says: {said}"
            )
        return result["value"]

    async def find(self, role: str, name: str, *, exact: bool = False, timeout: float = 15.0) -> dict[str, Any]:
        """Wait for an element by role and name; where it is."""
        arguments = json.dumps([role, name, exact])
        found: dict[str, Any] = await self.until(f"({_FIND})(...{arguments})", f"{role} {name!r}", timeout)
        return found

    async def has(self, role: str, name: str) -> bool:
        """Whether an element is there now."""
        return await self.js(_FIND, role, name, False) is not None

    async def click(self, role: str, name: str, *, exact: bool = False, timeout: float = 15.0) -> None:
        """Wait for an element that can be used and is at rest, and click it; once more, as a person would, when the page moved it away from
        under the pointer.
        """
        arguments = json.dumps([role, name, exact])
        # at rest: what moves while the page is still being drawn would be missed by the click
        condition = f"""(async () => {{
            const look = () => ({_FIND})(...{arguments});
            const before = look();
            if (!before || before.disabled) return null;
            await new Promise((resolve) => setTimeout(resolve, 30));
            const now = look();
            if (!now || now.disabled || now.x !== before.x || now.y !== before.y) return null;
            window.hit = false;
            // not the press: a page that moves between press and release gets no click on the element
            document.addEventListener("click", (event) => {{
                const path = event.composedPath();
                window.hit = path.includes(window.aim) || [...(window.aim.labels ?? [])].some((label) => path.includes(label));
            }}, {{ capture: true, once: true }});
            return now;
        }})()"""
        for _ in range(3):
            at = await self.until(condition, f"{role} {name!r} to be usable", timeout)
            await self.click_at(at["x"], at["y"])
            if await self.js("() => window.hit !== false"):  # a new page knows nothing of it
                return
        raise AssertionError(f"{self.name}: {role} {name!r} does not keep still")

    async def fill(self, name: str, text: str) -> None:
        """Click a text field, replace what is in it by typing; once more if the page took the focus away while it was drawn."""
        for _ in range(3):
            await self.click("textbox", name)
            await self.js("() => { const e = document.activeElement; if (e.select) e.select(); return null; }")
            await self.keys(text)
            if await self.js("() => document.activeElement.value ?? null") == text:
                return
        raise AssertionError(f"{self.name}: {name!r} does not take {text!r}")

    async def sees(self, text: str, timeout: float = 20.0) -> None:
        """Wait until a text can be read on the page."""
        wanted = json.dumps(text.lower())
        await self.until(f"document.body.innerText.toLowerCase().includes({wanted})", f"text {text!r}", timeout)

    async def close_call(self) -> None:
        """Close the screen of an ended call, unless it went away by itself."""
        found = f"({_FIND})('button', 'Close', true)"
        at = await self.until(f"document.querySelector('dialog.full[open]') ? {found} : {{ x: null }}", "the end of the call")
        if at["x"] is not None:
            await self.click_at(at["x"], at["y"])
        await self.until("!document.querySelector('dialog.full[open]')", "the call to be closed")

    async def text(self) -> str:
        """What can be read on the page."""
        return str(await self.js("() => document.body.innerText"))[:5000]

    async def hears(self, hz: int, seconds: float = 15.0) -> float:
        """Listen until a tone is the loudest thing in what the page plays; how loud it is, dB."""
        heard = await self.js(_HEAR, hz, seconds * 1000)
        if "error" in heard:
            raise AssertionError(f"{self.name} does not hear {hz} Hz: {heard['error']}")
        return float(heard["db"])


class _ChromiumPage(Page):
    name = "Chromium"
    hz = CHROMIUM_HZ

    def __init__(self, page: PlaywrightPage) -> None:
        self._page = page
        self.console = []
        page.on("console", lambda message: self.console.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.console.append(str(error)))

    async def js(self, function: str, *arguments: Any) -> Any:
        return await self._page.evaluate(f"async (all) => ({function})(...all)", list(arguments))

    async def click_at(self, x: float, y: float) -> None:
        await self._page.mouse.click(x, y)

    async def keys(self, text: str) -> None:
        await self._page.keyboard.type(text)

    async def press(self, key: str) -> None:
        await self._page.keyboard.press(key)

    async def shot(self, path: Path) -> None:
        await self._page.screenshot(path=path)

    async def scheme(self, scheme: Scheme) -> None:
        await self._page.emulate_media(color_scheme=scheme)

    async def goto(self, url: str) -> None:
        await self._page.goto(url)

    async def offline(self, offline: bool) -> None:
        await self._page.context.set_offline(offline)

    async def deliver_push(self, data: str) -> None:
        """Hand a push to the page's service worker, as the browser does with one that it has decrypted."""
        session = await self._page.context.new_cdp_session(self._page)
        found: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def updated(event: dict[str, Any]) -> None:
            for registration in event["registrations"]:
                if not registration["isDeleted"] and not found.done():
                    found.set_result(registration["registrationId"])

        session.on("ServiceWorker.workerRegistrationUpdated", updated)
        await session.send("ServiceWorker.enable")
        async with asyncio.timeout(10):
            registration = await found
        origin = await self.js("() => location.origin")
        await session.send("ServiceWorker.deliverPushMessage", {"origin": origin, "registrationId": registration, "data": data})
        await session.detach()

    async def virtual_authenticator(self) -> None:
        """Have a passkey at hand, whose owner is always there and verified."""
        session = await self._page.context.new_cdp_session(self._page)
        await session.send("WebAuthn.enable")
        options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
        await session.send(
            "WebAuthn.addVirtualAuthenticator",
            {"options": options | {"isUserVerified": True, "automaticPresenceSimulation": True}},
        )

    async def choose_file(self, button: str, path: Path) -> None:
        async with self._page.expect_file_chooser() as dialog:
            await self.click("button", button)
        await (await dialog.value).set_files(path)


@contextlib.asynccontextmanager
async def chromium(
    url: str, *, width: int = 390, height: int = 844, scale: float = 2.0, place: Place | None = None, preload: str | None = None
) -> AsyncIterator[Page]:
    """A page in a Chromium of its own. ``preload``: a function as text that runs in the page before its own scripts."""
    if not Path(CHROMIUM).exists():
        raise RuntimeError("the browser tests need Debian's chromium: apt-get install chromium")
    home = Path(tempfile.mkdtemp(prefix="kloudtalk-chromium-"))
    write_tone(home / "tone.wav", CHROMIUM_HZ)
    flags = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--no-pings",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-default-apps",
        "--disable-features=OptimizationHints,MediaRouter,DialMediaRouteProvider,Translate,WebRtcHideLocalIpsWithMdns",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"
        + "".join(f", EXCLUDE {host}" for host in (place.hosts if place else ())),
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        "--autoplay-policy=no-user-gesture-required",
        f"--use-file-for-fake-audio-capture={home / 'tone.wav'}",
    ]
    program = Path(CHROMIUM)
    if place is None:
        flags.append("--allow-loopback-in-peer-connection")
    else:
        flags.append(f"--unsafely-treat-insecure-origin-as-secure={place.secure_origin}")
        program = home / "chromium"
        program.write_text(f'#!/bin/sh\nexec {" ".join(command(place.namespace))} {CHROMIUM} "$@"\n')
        program.chmod(0o755)
        _trust(home / ".pki/nssdb", place.authority)
    playwright: Playwright = await async_playwright().start()
    browser: Browser | None = None
    try:
        environment: dict[str, str | float | bool] = {**os.environ, "HOME": str(home)}
        browser = await playwright.chromium.launch(executable_path=program, headless=True, args=flags, env=environment)
        context = await browser.new_context(
            viewport={"width": width, "height": height}, device_scale_factor=scale, permissions=["microphone", "notifications"]
        )
        if preload is not None:
            await context.add_init_script(f"({preload})()")
        page = _ChromiumPage(await context.new_page())
        await page.goto(url)
        yield page
    finally:
        if browser is not None:
            await browser.close()
        await playwright.stop()
        shutil.rmtree(home, ignore_errors=True)


_PREFERENCES = {
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.navigator.audio.fake_frequency": FIREFOX_HZ,
    "media.peerconnection.ice.loopback": True,
    "media.peerconnection.ice.obfuscate_host_addresses": False,
    "media.autoplay.default": 0,
    "media.autoplay.blocking_policy": 0,
    "media.autoplay.block-webaudio": False,
    "remote.active-protocols": 1,
    "remote.prefs.recommended": True,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "toolkit.telemetry.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "services.settings.server": "data:,#remote-settings-dummy/v1",
    "dom.push.connection.enabled": False,
    "extensions.update.enabled": False,
    "browser.search.update": False,
    "browser.region.network.url": "",
    "browser.newtabpage.enabled": False,
    "network.dns.disablePrefetch": True,
    "network.prefetch-next": False,
    "network.http.speculative-parallel-limit": 0,
    "media.gmp-manager.url": "data:,",
    "media.gmp-manager.updateEnabled": False,
    "media.gmp-provider.enabled": False,
    "geo.enabled": False,
}

_KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Escape": "\ue00c", "Space": " ", "ArrowDown": "\ue015"}


def _die_with_parent() -> None:
    ctypes.CDLL("libc.so.6").prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no orphan when a test is killed


class _BiDi:
    """A WebDriver BiDi session (W3C)."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._ws = ws
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self.console: list[str] = []
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for frame in self._ws:
            message = json.loads(frame.data)
            future = self._waiting.pop(message.get("id"), None)
            if future is not None and not future.done():
                if message["type"] == "success":
                    future.set_result(message["result"])
                else:
                    future.set_exception(RuntimeError(f"{message.get('error')}: {message.get('message')}"))
            elif message.get("method") == "log.entryAdded" and message["params"]["level"] == "error":
                self.console.append(message["params"].get("text") or "")
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(RuntimeError("Firefox closed the connection"))

    async def ask(self, method: str, **params: Any) -> Any:
        number = next(self._ids)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._ws.send_str(json.dumps({"id": number, "method": method, "params": params}))
        return await asyncio.wait_for(future, 90)

    async def close(self) -> None:
        self._reader.cancel()
        await self._ws.close()


class _FirefoxPage(Page):
    name = "Firefox"
    hz = FIREFOX_HZ

    def __init__(self, bidi: _BiDi, context: str) -> None:
        self._bidi = bidi
        self._context = context
        self.console = bidi.console

    async def js(self, function: str, *arguments: Any) -> Any:
        answer = await self._bidi.ask(
            "script.callFunction",
            functionDeclaration=f"async () => JSON.stringify(await ({function})(...{json.dumps(list(arguments))}) ?? null)",
            awaitPromise=True,
            target={"context": self._context},
            arguments=[],
            resultOwnership="none",
        )
        if answer["type"] == "exception":
            raise RuntimeError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    async def _act(self, kind: str, actions: list[dict[str, Any]], **more: Any) -> None:
        await self._bidi.ask(
            "input.performActions", context=self._context, actions=[{"type": kind, "id": kind, "actions": actions, **more}]
        )

    async def click_at(self, x: float, y: float) -> None:
        move = {"type": "pointerMove", "x": round(x), "y": round(y)}
        await self._act("pointer", [move, {"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}])

    async def keys(self, text: str) -> None:
        mapped = [_KEYS["Enter"] if character == "\n" else character for character in text]
        await self._act("key", [{"type": kind, "value": c} for c in mapped for kind in ("keyDown", "keyUp")])

    async def press(self, key: str) -> None:
        await self._act("key", [{"type": "keyDown", "value": _KEYS[key]}, {"type": "keyUp", "value": _KEYS[key]}])

    async def shot(self, path: Path) -> None:
        answer = await self._bidi.ask("browsingContext.captureScreenshot", context=self._context)
        path.write_bytes(base64.b64decode(answer["data"]))

    async def scheme(self, scheme: Scheme) -> None:
        raise NotImplementedError("colour schemes are looked at in Chromium")

    async def goto(self, url: str) -> None:
        await self._bidi.ask("browsingContext.navigate", context=self._context, url=url, wait="complete")

    async def choose_file(self, button: str, path: Path) -> None:
        # Firefox's own dialog cannot be driven: the file is put into the input that the button is for
        await self.find("button", button)
        answer = await self._bidi.ask(
            "script.callFunction",
            functionDeclaration="() => document.querySelector('input[type=file]')",
            awaitPromise=False,
            target={"context": self._context},
            resultOwnership="root",
        )
        element = {"sharedId": answer["result"]["sharedId"]}
        await self._bidi.ask("input.setFiles", context=self._context, element=element, files=[str(path)])


@contextlib.asynccontextmanager
async def _pulse() -> AsyncIterator[str]:
    """A private PulseAudio with a sink to nowhere: without a sound device Firefox keeps WebAudio suspended."""
    if shutil.which("pulseaudio") is None:
        raise RuntimeError("the browser tests need Debian's pulseaudio: apt-get install pulseaudio")
    folder = Path(tempfile.mkdtemp(prefix="kloudtalk-pulse-"))
    path = folder / "pulse.sock"
    process = await asyncio.create_subprocess_exec(
        "pulseaudio",
        "-n",
        "--daemonize=no",
        "--exit-idle-time=-1",
        "--use-pid-file=no",
        "--disallow-exit=1",
        "--load=module-null-sink sink_name=null rate=48000",
        f"--load=module-native-protocol-unix auth-anonymous=1 socket={path}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        preexec_fn=_die_with_parent,
        env={**os.environ, "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder), "DBUS_SESSION_BUS_ADDRESS": "none"},
    )
    try:
        async with asyncio.timeout(20):
            while not path.exists():
                if process.returncode is not None:
                    raise RuntimeError(f"pulseaudio ended with {process.returncode}")
                await asyncio.sleep(0.05)
        yield f"unix:{path}"
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def firefox(
    url: str,
    *,
    width: int = 390,
    height: int = 844,
    scale: float = 2.0,
    place: Place | None = None,
    preload: str | None = None,
    preferences: Mapping[str, object] = {},
) -> AsyncIterator[Page]:
    """A page in a Firefox of its own. ``preload``: a function as text that runs in the page before its own scripts."""
    if shutil.which(FIREFOX) is None:
        raise RuntimeError("the browser tests need Debian's firefox-esr: apt-get install firefox-esr")
    profile = Path(tempfile.mkdtemp(prefix="kloudtalk-firefox-"))
    settings: dict[str, Any] = {**_PREFERENCES, **preferences}
    if place is not None:
        settings["media.peerconnection.ice.loopback"] = False
        settings["dom.securecontext.allowlist"] = place.secure_origin.rpartition("/")[2].partition(":")[0]
        settings["dom.securecontext.allowlist_onions"] = False
        _trust(profile, place.authority)
    lines = [f"user_pref({json.dumps(key)}, {json.dumps(value)});" for key, value in settings.items()]
    (profile / "user.js").write_text("\n".join(lines))
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, profile, ignore_errors=True)
        pulse = await stack.enter_async_context(_pulse())
        process = await asyncio.create_subprocess_exec(
            *command(place.namespace if place else None),
            FIREFOX,
            "--headless",
            "--no-remote",
            "--profile",
            str(profile),
            "--remote-debugging-port",
            "0",
            "about:blank",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            preexec_fn=_die_with_parent,
            env={**os.environ, "HOME": str(profile), "MOZ_CRASHREPORTER_DISABLE": "1", "PULSE_SERVER": pulse},
        )

        async def end() -> None:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)
                try:
                    await asyncio.wait_for(process.wait(), 8)
                except TimeoutError:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    await process.wait()

        stack.push_async_callback(end)
        assert process.stderr is not None
        port = 0
        async with asyncio.timeout(60):
            while not port:
                line = (await process.stderr.readline()).decode()
                if not line:
                    raise RuntimeError("Firefox ended before it listened")
                if "WebDriver BiDi listening on" in line:
                    port = int(line.rsplit(":", 1)[1])
        drain = asyncio.create_task(process.stderr.read())
        stack.callback(drain.cancel)
        connector = None
        if place is not None:  # Firefox listens on the loopback address of its namespace
            namespace = place.namespace
            connector = aiohttp.TCPConnector(socket_factory=lambda info: enter(namespace, lambda: socket.socket(*info[:3])))
        http = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        bidi = _BiDi(await http.ws_connect(f"http://127.0.0.1:{port}/session", max_msg_size=0))
        stack.push_async_callback(bidi.close)
        await bidi.ask("session.new", capabilities={"alwaysMatch": {"acceptInsecureCerts": True}})
        await bidi.ask("session.subscribe", events=["log.entryAdded"])
        if preload is not None:
            await bidi.ask("script.addPreloadScript", functionDeclaration=preload)
        context = (await bidi.ask("browsingContext.create", type="tab"))["context"]
        await bidi.ask(
            "browsingContext.setViewport", context=context, viewport={"width": width, "height": height}, devicePixelRatio=scale
        )
        page = _FirefoxPage(bidi, context)
        await page.goto(url)
        yield page


BROWSERS = {"chromium": chromium, "firefox": firefox}
