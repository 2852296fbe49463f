import { KloudTalkClient, explain, KloudTalkError } from "@kloudtalk/sdk";
import { render } from "preact";
import { App } from "./app";
import { restoreChoices } from "./choices";
import { t, translated } from "./i18n";
import { startPush } from "./push";
import "./style.css";

await restoreChoices();
const root = document.getElementById("app") as HTMLElement;

/** Two people in two tabs of one browser: `?profile=bob` keeps its own keys. */
const profile = new URLSearchParams(location.search).get("profile")?.replace(/\W/gu, "") ?? "";

try {
  const client = await KloudTalkClient.open({ baseUrl: "", database: profile === "" ? "kloudtalk" : `kloudtalk-${profile}` });
  addEventListener("pagehide", (event) => { if (!event.persisted) void client.close(); }); // the other side need not wait for a timeout
  render(<App client={client} />, root);
  void startPush(client).catch(() => undefined); // a browser without push calls as well
} catch (error) {
  render(
    <main class="shell narrow stack">
      <h1>{t("KloudTalk cannot start here")}</h1>
      <p class="note bad" role="alert">{translated(explain(error instanceof KloudTalkError ? error.code : "unsupported"))}</p>
      <p class="soft">{t("It needs a current browser, a secure address (https, or localhost), and storage that is not switched off.")}</p>
    </main>,
    root,
  );
}
document.documentElement.dataset["ready"] = "true";
