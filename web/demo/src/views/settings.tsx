import type { AccountState, DeviceDetails } from "@kloudtalk/sdk";
import { useEffect } from "preact/hooks";
import { type Message, number as share, t } from "../i18n";
import { Icon } from "../icons";
import { Confirmed, day, Failure, Title, useAction, useTalk } from "../ui";
import { PushSwitch } from "./push";
import { ConsentSwitch } from "./consents";
import { DeleteAccount } from "./delete";
import { Looks } from "./looks";
import { PlanSettings } from "./plan";
import { PresenceSettings } from "./presence";
import { ProfileSettings } from "./profile";
import { Rights } from "./rights";

const WHO: { value: AccountState["whoCanCall"]; label: Message }[] = [
  { value: "everyone", label: "Everyone who has my number" },
  { value: "contacts", label: "My contacts only" },
  { value: "nobody", label: "Nobody" },
];

export function Settings() {
  const { client, state } = useTalk();
  const who = useAction();
  const hide = useAction();
  const { account } = state;
  return (
    <div class="stack">
      <Title>{t("Settings")}</Title>
      <ProfileSettings />
      <section class="card stack" aria-labelledby="privacy">
        <h2 id="privacy">{t("Privacy")}</h2>
        <fieldset disabled={who.busy || account === null}>
          <legend>{t("Who can call me")}</legend>
          {WHO.map(({ value, label }) => (
            <label class="check" key={value}>
              <input type="radio" name="who" checked={account?.whoCanCall === value} onChange={() => void who.run(() => client.changeSettings({ whoCanCall: value }))} />
              <span>{t(label)}</span>
            </label>
          ))}
        </fieldset>
        <Failure error={who.error} />
        <p class="soft small">{t("Who may not call you cannot tell it from you being offline.")}</p>
        <label class="check">
          <input type="checkbox" checked={state.alwaysRelay} disabled={hide.busy || account === null}
            onChange={(event) => { const { checked } = event.currentTarget; void hide.run(() => client.changeSettings({ alwaysRelay: checked })); }} />
          <span>{t("Always use a relay for calls")}</span>
        </label>
        <p class="soft small">{t("People you talk to cannot see your IP address. Calls may sound a little later. It holds for all your devices, from the next call on.")}</p>
        <Failure error={hide.error} />
        <PushSwitch />
        <ConsentSwitch purpose="phonebook" label={t("Use my phonebook to find people")} note={t("Taking this back deletes your contacts from the server and from this device at once.")} />
        <ConsentSwitch purpose="quality" label={t("Keep how well my calls worked")} note={t("It is shown in your list of calls, and stays for 30 days. Taking this back deletes it at once.")} />
        {state.contacts.length > 0 ? (
          <Confirmed label={t("Delete my address book")} question={t("Delete every contact from the server and from this device? It happens at once; there is no backup. Your own phonebook stays as it is.")} yes={t("Delete address book")} action={() => client.deleteAddressBook()} />
        ) : null}
        <p><a href="#/policy">{t("Privacy policy")}</a></p>
      </section>
      <PresenceSettings />
      <Looks />
      <Devices />
      <Blocked />
      <PlanSettings />
      <Rights />
      <section class="card stack" aria-labelledby="help">
        <h2 id="help">{t("Help")}</h2>
        <p class="row"><a class="button" href="#/settings/sound">{t("Check my sound")}</a><a class="button" href="#/settings/support">{t("Ask support")}</a></p>
      </section>
      <section class="card stack" aria-labelledby="leave">
        <h2 id="leave">{t("Leave")}</h2>
        <div class="row">
          <Confirmed label={t("Sign out here")} question={t("Sign out of this browser? Its keys are deleted. Without another device you get back in with codes to your number and address, and your contacts see new keys.")} yes={t("Sign out")} action={() => client.signOut()} />
          <Confirmed label={t("Sign out everywhere")} question={t("Sign out every device of this account, this one too?")} yes={t("Sign out everywhere")} action={() => client.signOutEverywhere()} />
        </div>
        <DeleteAccount />
      </section>
    </div>
  );
}

/** What a device told about itself, in one line. */
function told({ info, network, country, region }: DeviceDetails): string {
  const percent = (value: number) => share(value / 100, { style: "percent" });
  return [info.model, info.browser, info.os, info.app_version, info.operator, info.language, info.time_zone, info.battery === undefined ? "" : t("battery {percent}", { percent: percent(info.battery) }),
    info.signal === undefined ? "" : t("signal {percent}", { percent: percent(info.signal) }), network === "" ? "" : t("network {network}", { network }), region, country].filter(Boolean).join(" · ");
}

function Devices() {
  const { client, state } = useTalk();
  const { error, run } = useAction();
  useEffect(() => { void run(() => client.refreshDevices()); }, []); // who is connected changes without a message
  return (
    <section class="card stack" aria-labelledby="devices">
      <h2 id="devices">{t("Devices")}</h2>
      <Failure error={error} />
      <ul class="list">
        {state.devices.map((device) => (
          <li key={device.device}>
            <Icon name="device" />
            <div class="grow">
              <strong>{device.name}</strong>
              <span class="soft small">{device.current ? t("This device") : device.online ? t("Connected") : t("Not connected")} · {t("added {date}", { date: day(device.createdAt) })}</span>
              {device.details !== null ? <span class="soft small block">{told(device.details)}</span> : null}
            </div>
            {device.genuine ? null : <span class="badge bad">{t("Not added by you")}</span>}
            {device.current ? null : <Confirmed label={t("Remove")} name={t("Remove {name}", { name: device.name })} question={t("Remove “{name}”? It is signed out at once.", { name: device.name })} yes={t("Remove device")} action={() => client.revokeDevice(device.device)} />}
          </li>
        ))}
      </ul>
      <ConsentSwitch purpose="device_details" label={t("Keep what my devices tell about themselves")} />
      <a class="button" href="#/settings/add-device">{t("Add a device")}</a>
      {state.devices.length > 1 ? (
        <Confirmed label={t("Sign out all other devices")} question={t("Sign out every device but this one?")} yes={t("Sign out the others")} action={() => client.signOutEverywhere({ keepCurrent: true })} />
      ) : null}
    </section>
  );
}

function Blocked() {
  const { client, state } = useTalk();
  const { busy, error, run } = useAction();
  if (state.blocks.length === 0) return null;
  return (
    <section class="card stack" aria-labelledby="blocked">
      <h2 id="blocked">{t("Blocked")}</h2>
      <Failure error={error} />
      <ul class="list">
        {state.blocks.map((account) => {
          const name = state.contacts.find((contact) => contact.account === account)?.name ?? t("Somebody who is no contact");
          return <li key={account}><span class="grow">{name}</span><button type="button" disabled={busy} aria-label={t("Unblock {name}", { name })} onClick={() => void run(() => client.unblock(account))}>{t("Unblock")}</button></li>;
        })}
      </ul>
    </section>
  );
}
