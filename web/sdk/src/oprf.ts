/** The client's half of private contact discovery: RFC 9497, mode OPRF, ristretto255-SHA512 (P08). */
import { ristretto255_oprf } from "@noble/curves/ed25519.js";
import { fromBase64url, toBase64url, utf8 } from "./bytes.js";

/** A number that was blinded, and what removes the blind. */
export interface Blinded {
  readonly input: Uint8Array;
  readonly blind: Uint8Array;
  /** base64url of 32 bytes: what is sent. */
  readonly blinded: string;
}

/** Blinds numbers and finalises their tokens. `random` gives random bytes; only tests against the RFC's vectors pass one. */
export class OprfClient {
  readonly #random: ((length?: number) => Uint8Array) | undefined;

  constructor(random?: (length?: number) => Uint8Array) {
    this.#random = random;
  }

  /** Takes some 3 ms. `input` is an E.164 number, or bytes. */
  blind(input: string | Uint8Array): Blinded {
    const bytes = typeof input === "string" ? utf8(input) : input;
    const made = this.#random ? ristretto255_oprf.oprf.blind(bytes as never, this.#random as never) : ristretto255_oprf.oprf.blind(bytes as never);
    return { input: bytes, blind: made.blind, blinded: toBase64url(made.blinded) };
  }

  /** The discovery token: base64url of 64 bytes. Throws when `evaluated` is not a ristretto255 element. */
  finalize(blinded: Blinded, evaluated: string): string {
    return toBase64url(ristretto255_oprf.oprf.finalize(blinded.input as never, blinded.blind as never, fromBase64url(evaluated) as never));
  }
}
