import { useEffect, useMemo, useState } from "preact/hooks";
import { encode } from "uqr";
import { type Message, rich, t } from "../i18n";
import { Icon } from "../icons";
import { clock, deviceName, Failure, Field, sentence, Title, useAction, useNow, useTalk } from "../ui";

/** On the new device: type the code that the old one shows. */
export function ClaimLink({ code: scanned }: { code: string | null }) {
  const { client, state } = useTalk();
  const { busy, error, code: problem, run } = useAction();
  const [code, setCode] = useState(scanned ?? "");
  const [name, setName] = useState(deviceName);
  // A scanned code is in the page's address; it does not stay there, nor in the browser's history.
  useEffect(() => { if (scanned !== null) history.replaceState(null, "", "#/link"); }, [scanned]);
  if (state.phase === "linking" && state.linking !== null) return <Waiting />;
  const atCode = problem === "link_code_invalid" || problem === "not_found" || problem === "link_state";
  function submit(event: Event) {
    event.preventDefault();
    void run(() => client.claimLink(code, name.trim()));
  }
  return (
    <form class="narrow stack" noValidate onSubmit={submit}>
      <Title lead={t("On a device that you use already, open Settings, then “Add a device”.")}>{t("Add this device")}</Title>
      <div class="card stack">
        <Field label={t("Code")} hint={t("16 letters and digits, shown on your other device.")} error={atCode ? sentence(error) : null}>
          {(field) => <input {...field} class="linkcode" type="text" autocomplete="off" autocapitalize="characters" spellcheck={false} maxLength={32} value={code} onInput={(event) => setCode(event.currentTarget.value)} />}
        </Field>
        <Field label={t("Device name")} hint={t("Your other device shows it before you approve.")}>
          {(field) => <input {...field} type="text" maxLength={40} value={name} onInput={(event) => setName(event.currentTarget.value)} />}
        </Field>
        <Failure error={atCode ? null : error} />
        <button type="submit" class="primary wide" disabled={busy || code.trim() === "" || name.trim() === ""}>{busy ? t("Linking…") : t("Link this device")}</button>
      </div>
      <p><a href="#/">{t("Back")}</a></p>
    </form>
  );
}

const claimEnds: Record<"refused" | "expired" | "failed", Message> = {
  refused: "Your other device refused. Nothing was linked.",
  expired: "The code is too old. Show a new one on your other device.",
  failed: "The answer of your other device did not prove to be genuine. Nothing was linked. Please try again with a new code.",
};

function Waiting() {
  const { client, state } = useTalk();
  const { error, run } = useAction();
  const now = useNow();
  const linking = state.linking;
  if (linking === null) return null;
  const end = linking.state === "claimed" ? null : claimEnds[linking.state];
  return (
    <div class="narrow stack">
      <Title>{end === null ? t("Approve on your other device") : t("Not linked")}</Title>
      <div class="card stack">
        <div role="status">
          {end === null ? <p>{t("Your other device now shows “{name}”. Approve it there.", { name: linking.deviceName })}</p> : <p class="note bad"><Icon name="warning" />{t(end)}</p>}
        </div>
        {end === null ? <p class="soft">{t("Time left: {time}", { time: clock(linking.expiresAt - now) })}</p> : null}
        <Failure error={error} />
        <button type="button" onClick={() => void run(() => client.cancelClaim())}>{end === null ? t("Cancel") : t("Try again")}</button>
      </div>
    </div>
  );
}

/** One path of squares: crisp at any size, and without colours of its own. */
function Qr({ text, label }: { text: string; label: string }) {
  const { size, path } = useMemo(() => {
    const qr = encode(text, { border: 2, ecc: "M" });
    let squares = "";
    qr.data.forEach((line, y) => line.forEach((dark, x) => { if (dark) squares += `M${x} ${y}h1v1h-1z`; }));
    return { size: qr.size, path: squares };
  }, [text]);
  return <svg class="qr" viewBox={`0 0 ${size} ${size}`} role="img" aria-label={label} shape-rendering="crispEdges"><path d={path} /></svg>;
}

/** On the old device: show a code, then decide on the device that used it. */
export function AddDevice() {
  const { client, state } = useTalk();
  const { busy, error, run } = useAction();
  const now = useNow();
  const link = state.openLink;
  useEffect(() => {
    void run(() => client.openLink());
    return () => {
      // An open code ends with the page that shows it.
      if (client.state.openLink !== null && client.state.phase === "ready") void client.refuseLink().catch(() => undefined);
    };
  }, []);
  const over = link === null || link.state === "refused" || link.state === "expired" || (link.state === "waiting" && link.expiresAt <= now);
  return (
    <div class="narrow stack">
      <Title lead={t("The new device gets its own keys, and the key to your address book. Your old calls stay where they are.")}>{t("Add a device")}</Title>
      <div class="card stack">
        <Failure error={error} />
        <div role="status" class="stack">
          {link?.state === "approved" ? <p class="note"><Icon name="shield" />{t("“{name}” was added.", { name: link.deviceName ?? "" })}</p> : null}
          {link?.state === "refused" ? <p class="note warn"><Icon name="warning" />{t("Refused. Nothing was added.")}</p> : null}
          {link && over && link.state !== "refused" ? <p class="note warn"><Icon name="clock" />{t("The code is too old.")}</p> : null}
          {link?.state === "claimed" ? <p>{rich("A device called <b>“{name}”</b> used your code. Is it yours?", { name: link.deviceName ?? "", b: (name) => <strong class="wrap">{name}</strong> })}</p> : null}
          {link === null && busy ? <p class="soft">{t("Making a code…")}</p> : null}
        </div>
        {link?.state === "waiting" && !over ? (
          <>
            <p>{t("Scan this on the new device, or open this page there, choose “Add this device to my account” and type the code.")}</p>
            <Qr text={`${location.origin}/#/link/${link.code}`} label={t("QR code with the address of this page and the code below")} />
            <p><span class="soft">{t("Code:")} </span><span class="linkcode" data-testid="link-code">{link.code}</span></p>
            <p class="soft small">{t("Time left: {time}", { time: clock(link.expiresAt - now) })}. {t("Show it to nobody: who has it can ask to join your account.")}</p>
          </>
        ) : null}
        {link?.state === "claimed" && link.genuine === false ? (
          <p class="note bad" role="alert"><Icon name="warning" />{t("This device could not prove that it knows your code. Somebody may have interfered. Refuse it.")}</p>
        ) : null}
        {link?.state === "claimed" ? (
          <div class="row">
            <button type="button" class="primary grow" disabled={busy || link.genuine !== true} onClick={() => void run(() => client.approveLink())}>{t("Approve")}</button>
            <button type="button" class="grow" disabled={busy} onClick={() => void run(() => client.refuseLink())}>{t("Refuse")}</button>
          </div>
        ) : null}
        {over && !busy ? <button type="button" class="primary" onClick={() => void run(() => client.openLink())}>{t("Show a new code")}</button> : null}
      </div>
      <p><a href="#/settings">{t("Back to settings")}</a></p>
    </div>
  );
}
