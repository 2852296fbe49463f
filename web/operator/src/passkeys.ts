/** Passkeys (WebAuthn Level 3), by the browser's own conversion to and from JSON. */
import { ApiError, ask } from "./api";
import type { PasskeyOptions } from "./wire";

export const havePasskeys = typeof PublicKeyCredential !== "undefined" && "parseRequestOptionsFromJSON" in PublicKeyCredential;

async function asked(credential: Promise<Credential | null>): Promise<unknown> {
  try {
    return (await credential as PublicKeyCredential).toJSON() as unknown;
  } catch {
    throw new ApiError("passkey_invalid", "The browser gave no passkey: it was cancelled, or there is none for this address.");
  }
}

export async function signInWithPasskey(): Promise<void> {
  const { options } = await ask<PasskeyOptions>("POST", "/login/passkey/options");
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options as unknown as PublicKeyCredentialRequestOptionsJSON);
  await ask("POST", "/login/passkey", { credential: await asked(navigator.credentials.get({ publicKey })) });
}

export async function addPasskey(name: string, password: string): Promise<void> {
  const { options } = await ask<PasskeyOptions>("POST", "/me/passkeys/options", { password });
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options as unknown as PublicKeyCredentialCreationOptionsJSON);
  await ask("POST", "/me/passkeys", { name, credential: await asked(navigator.credentials.create({ publicKey })) });
}
