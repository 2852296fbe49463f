/** What was tried to get a call's media through, and why it did not work. Pure. */
import type { Attempt, TriedWay } from "./state.js";

/** What is known of a call's ways. */
export interface Known {
  /** One of the two hides its address: nothing goes directly. */
  readonly hidden: boolean;
  /** The server has TURN servers; it had a relay when the call began. */
  readonly servers: boolean;
  readonly relay: boolean;
  /** The browser got a candidate of a TURN server; one refused it; their way was taken at all. */
  readonly turned: "found" | "refused" | "none";
  readonly turnTaken: boolean;
  /** This device's leg of the relay: never asked for, asked for, given, or why there was none. */
  readonly leg: "unasked" | "asked" | "given" | "none" | "full";
  /** Ways that media flowed on. */
  readonly carried: ReadonlySet<TriedWay>;
  /** Nothing more will be tried. */
  readonly over: boolean;
}

/** The ways, in the order of the ladder. One that was never taken, though it could have been, is left out at the end. */
export function attempts(known: Known): readonly Attempt[] {
  const found: Attempt[] = [{ way: "direct", outcome: direct(known) }, { way: "turn", outcome: turn(known) }, { way: "relay", outcome: relay(known) }];
  return known.over ? found.filter(({ outcome }) => outcome !== null) : found;
}

type Outcome = Attempt["outcome"];

function direct({ hidden, carried, over }: Known): Outcome {
  if (hidden) return "hidden";
  return carried.has("direct") ? "carried" : over ? "no_answer" : null;
}

function turn({ servers, turned, turnTaken, carried, over }: Known): Outcome {
  if (!servers) return "none";
  if (carried.has("turn")) return "carried";
  if (!over || !turnTaken || carried.has("direct")) return null; // what goes directly needs no TURN server
  return turned === "found" ? "no_answer" : turned === "refused" ? "refused" : "unreachable";
}

function relay({ relay: there, leg, carried, over }: Known): Outcome {
  if (carried.has("relay")) return "carried";
  switch (leg) {
    case "none": case "full": return leg;
    case "unasked": return there ? null : "none";
    case "asked": return over ? "unreachable" : null;
    case "given": return over ? "no_answer" : null;
  }
}
