import { Icon } from "../icons";
import { Title } from "../ui";

export function Welcome() {
  return (
    <div class="stack narrow">
      <div class="hero">
        <img src="/icon.svg" alt="" />
        <Title lead="Calls between you and the other person. The server connects you, and cannot listen.">Talk in private</Title>
      </div>
      <a class="button primary" href="#/register">Create an account</a>
      <a class="button" href="#/link">Add this device to my account</a>
      <ul class="facts card">
        <li><Icon name="lock" /><div><h2>Encrypted from end to end</h2><p class="soft">Your keys are made in this browser and stay in it. A safety number shows that nobody stands between you.</p></div></li>
        <li><Icon name="people" /><div><h2>Your phonebook stays yours</h2><p class="soft">Numbers are blinded before they leave this device. You are asked first, and can take it back.</p></div></li>
        <li><Icon name="trash" /><div><h2>Gone means gone</h2><p class="soft">Delete calls, contacts or the whole account: it happens at once.</p></div></li>
      </ul>
      <p class="soft small"><a href="#/policy">Privacy policy</a></p>
    </div>
  );
}
