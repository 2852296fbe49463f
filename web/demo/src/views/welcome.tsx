import { t } from "../i18n";
import { Icon } from "../icons";
import { Title } from "../ui";

export function Welcome() {
  return (
    <div class="stack narrow">
      <div class="hero">
        <img src="/icon.svg" alt="" />
        <Title lead={t("Calls between you and the other person. The server connects you, and cannot listen.")}>{t("Talk in private")}</Title>
      </div>
      <a class="button primary" href="#/register">{t("Create an account")}</a>
      <a class="button" href="#/link">{t("Add this device to my account")}</a>
      <ul class="facts card">
        <li><Icon name="lock" /><div><h2>{t("Encrypted from end to end")}</h2><p class="soft">{t("Your keys are made in this browser and stay in it. A safety number shows that nobody stands between you.")}</p></div></li>
        <li><Icon name="people" /><div><h2>{t("Your phonebook stays yours")}</h2><p class="soft">{t("Numbers are blinded before they leave this device. You are asked first, and can take it back.")}</p></div></li>
        <li><Icon name="trash" /><div><h2>{t("Gone means gone")}</h2><p class="soft">{t("Delete calls, contacts or the whole account: it happens at once.")}</p></div></li>
      </ul>
      <p class="soft small"><a href="#/policy">{t("Privacy policy")}</a></p>
    </div>
  );
}
