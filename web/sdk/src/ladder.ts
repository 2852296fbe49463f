/**
 * Which way a call's media take, and who says when that changes. Pure: `advance(ladder, event)` answers the next ladder and what to do.
 *
 * A way has a number, its epoch; epoch 0 is the first offer and answer. Only the leader (the device whose offer began the connection, as it
 * called or took the call over) begins an epoch, so two can never meet half-way. The other one, when it is the one that hears nothing, says a
 * wish that names the epoch it is unhappy with; a wish about another epoch than that of now has been fulfilled already. Over the relay each
 * device speaks with its own leg, so nothing has to be exchanged but the epoch.
 */

export type Via = "direct" | "relay";

export interface Ladder {
  /** This device's offer began the connection: it called, or took the call over. */
  readonly leader: boolean;
  readonly epoch: number;
  /** `direct` is all that needs no relay of ours: host, server-reflexive, TURN. */
  readonly via: Via;
  /** The way of this epoch carries media. */
  readonly carried: boolean;
  /** Some epoch did. */
  readonly ever: boolean;
  /** Ways that were tried since one carried. */
  readonly tried: number;
  /** A relay may be asked for. */
  readonly relay: boolean;
  /** There are TURN servers: who hides can do without the relay. */
  readonly servers: boolean;
  /** One of the two hides its address: its packets go to a relay only. */
  readonly hidden: boolean;
  /** The other side knows epochs. */
  readonly moves: boolean;
  /** The networks of this device changed, and direct ways were not tried since. */
  readonly fresh: boolean;
  /** It carries them through a TURN server, of this side's or of the other's. */
  readonly turn: boolean;
  /** Ways back that were tried since media last went without a server between. */
  readonly returns: number;
}

export type LadderEvent =
  /** Offer and answer are exchanged. */
  | { readonly type: "answered"; readonly hidden: boolean; readonly moves: boolean }
  /** Media flow on the way of this epoch; `turn`: through a TURN server. Said again when that changes: ICE found a better pair, or lost it. */
  | { readonly type: "flows"; readonly epoch: number; readonly turn: boolean }
  /** The wait that was asked for is over. */
  | { readonly type: "late"; readonly epoch: number }
  /** Nothing comes any more, or ICE has failed. */
  | { readonly type: "lost"; readonly epoch: number }
  /** There is no relay to be had. */
  | { readonly type: "no_relay"; readonly epoch: number }
  /** The networks of this device changed. */
  | { readonly type: "network" }
  /** The relay that carries the call is about to end. */
  | { readonly type: "renew" }
  /** The time for `return` has come. */
  | { readonly type: "return"; readonly epoch: number }
  /** The other side said. */
  | { readonly type: "restart" | "relay"; readonly epoch: number }
  | { readonly type: "wish"; readonly epoch: number; readonly via: Via };

export type Act =
  /** Make an offer that restarts ICE, and say it (`restart`). */
  | { readonly act: "offer" }
  /** Answer the offer that came. */
  | { readonly act: "answer" }
  /** Restart ICE towards the own leg of the relay. */
  | { readonly act: "leg" }
  | { readonly act: "say"; readonly kind: "relay" | "wish"; readonly body: { readonly epoch: number; readonly via?: Via } }
  /** Come back with `late` after that many milliseconds, unless media flow before. */
  | { readonly act: "wait"; readonly milliseconds: number }
  /** A server of ours carries, and a direct way may be there by then: come back with `return` after that many milliseconds. */
  | { readonly act: "return"; readonly milliseconds: number };

/** Milliseconds that the first way has, and every later one before media have ever flowed. */
export const CONNECT_WITHIN = 4_000;
/** Milliseconds for a way that replaces one that carried: people are waiting in silence. */
export const REPLACE_WITHIN = 1_500;
/** Milliseconds for a direct way that replaces a relay or a TURN server: more pairs of candidates than a relay's, checked one after the other. */
export const DIRECT_WITHIN = 2_500;
/** Milliseconds for the relay after a change of networks: Chromium learns of a network up to 2.5 s late, and then gathers for the leg that it has. */
export const SETTLE_WITHIN = 3_500;
const REPLACE_AT_MOST = 6_000;
/** Milliseconds on a relay after a change of networks, until the direct way is tried. */
export const RETURN_FRESH = 2_000;
/** Milliseconds on a relay or a TURN server when nothing is known to have changed; doubles with each try. */
export const RETURN_LATER = 10_000;
const RETURN_AT_MOST = 600_000;

export function start(leader: boolean, relay: boolean, servers = false): Ladder {
  return { leader, epoch: 0, via: "direct", carried: false, ever: false, tried: 0, relay, servers, hidden: false, moves: false, fresh: false, turn: false, returns: 0 };
}

export function advance(ladder: Ladder, event: LadderEvent): readonly [Ladder, readonly Act[]] {
  switch (event.type) {
    case "answered": {
      const next = { ...ladder, hidden: event.hidden, moves: event.moves };
      // both know this without a word: the epoch after a hidden answer is the relay's
      if (next.hidden && next.moves && next.relay) return [{ ...next, epoch: 1, via: "relay" }, [{ act: "leg" }, { act: "wait", milliseconds: CONNECT_WITHIN }]];
      return [next, [{ act: "wait", milliseconds: CONNECT_WITHIN }]];
    }
    case "flows": {
      if (event.epoch !== ladder.epoch || (ladder.carried && event.turn === ladder.turn)) return [ladder, []];
      const next = { ...ladder, carried: true, ever: true, tried: 0, turn: event.turn };
      if (ladder.via === "direct" && !event.turn) return [{ ...next, fresh: false, returns: 0 }, []];
      // who hides stays behind a server. Of the others one looks, or they would do it twice as often; and who came to another network, as the other cannot know
      if (ladder.hidden || !ladder.moves || !(ladder.leader || ladder.fresh)) return [next, []];
      return [next, [{ act: "return", milliseconds: ladder.fresh ? RETURN_FRESH : Math.min(RETURN_AT_MOST, RETURN_LATER * 2 ** ladder.returns) }]];
    }
    case "return":
      if (event.epoch !== ladder.epoch || !ladder.carried || (ladder.via === "direct" && !ladder.turn)) return [ladder, []];
      return move({ ...ladder, fresh: false, returns: ladder.fresh ? 0 : ladder.returns + 1 }, "direct");
    case "late":
      if (event.epoch !== ladder.epoch || ladder.carried) return [ladder, []];
      // without a relay the first try is all there is: starting anew would only cost what it has got so far
      return !ladder.relay && !ladder.ever ? [ladder, []] : next(ladder);
    case "lost":
      return event.epoch === ladder.epoch ? next({ ...ladder, carried: false }) : [ladder, []];
    case "no_relay":
      return event.epoch === ladder.epoch && ladder.via === "relay" ? next(ladder, ladder.hidden && !ladder.servers) : [ladder, []];
    case "network": {
      const next = { ...ladder, fresh: true, returns: 0 };
      // the relay first: it needs no luck, and nothing that the browser has yet to find out. Direct ways are looked for from there
      return ladder.ever ? move(next, ladder.relay ? "relay" : ladder.via) : [next, []];
    }
    case "renew":
      return ladder.via === "relay" ? move(ladder, "relay") : [ladder, []];
    case "restart":
    case "relay": {
      if (ladder.leader || event.epoch <= ladder.epoch) return [ladder, []];
      const via: Via = event.type === "relay" ? "relay" : "direct";
      return [{ ...ladder, epoch: event.epoch, via, carried: false, turn: false }, [{ act: via === "relay" ? "leg" : "answer" }, wait(ladder, via)]];
    }
    case "wish":
      // a wish for a direct way comes from a side whose networks changed: what failed on the ones before says nothing
      return ladder.leader && event.epoch === ladder.epoch ? move({ ...ladder, carried: false, returns: event.via === "direct" ? 0 : ladder.returns }, event.via) : [ladder, []];
  }
}

/**
 * This way does not carry: the relay, and the relay again, once. When it was the relay that died, the hub says so; when it carried and nobody said
 * anything, one of the two is on another network. `again`: a relay that did not carry may be asked for once more. Not where one hides and media never
 * flowed: then the relay was the first to be tried, and TURN servers are as good for hiding.
 */
function next(ladder: Ladder, again = ladder.ever || !(ladder.hidden && ladder.servers)): readonly [Ladder, readonly Act[]] {
  const via: Via = ladder.relay && (ladder.via === "direct" || (again && ladder.tried % 2 === 0)) ? "relay" : "direct";
  return move({ ...ladder, tried: ladder.tried + 1 }, via);
}

function move(ladder: Ladder, via: Via): readonly [Ladder, readonly Act[]] {
  if (!ladder.moves) return [ladder, []];
  if (!ladder.leader) return [ladder, [{ act: "say", kind: "wish", body: { epoch: ladder.epoch, via } }, wait(ladder, via)]];
  const epoch = ladder.epoch + 1;
  const acts: Act[] = via === "relay" ? [{ act: "say", kind: "relay", body: { epoch } }, { act: "leg" }] : [{ act: "offer" }];
  return [{ ...ladder, epoch, via, carried: false, turn: false }, [...acts, wait(ladder, via)]];
}

function wait(ladder: Ladder, via: Via = ladder.via): Act {
  if (ladder.ever && ladder.fresh && via === "relay") return { act: "wait", milliseconds: SETTLE_WITHIN };
  if (ladder.ever && (ladder.via === "relay" || ladder.turn) && via === "direct") return { act: "wait", milliseconds: DIRECT_WITHIN };
  return { act: "wait", milliseconds: ladder.ever ? Math.min(REPLACE_AT_MOST, REPLACE_WITHIN * (1 + ladder.tried / 2)) : CONNECT_WITHIN };
}
