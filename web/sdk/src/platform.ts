import { browserNetwork, type Network } from "./network.js";

/** What the SDK takes from its surroundings; tests put their own in its place. */
export interface Platform {
  readonly fetch: typeof fetch;
  readonly WebSocket: typeof WebSocket;
  readonly RTCPeerConnection: typeof RTCPeerConnection;
  readonly getUserMedia: (constraints: MediaStreamConstraints) => Promise<MediaStream>;
  readonly indexedDB: IDBFactory;
  readonly network: Network;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** From 0 to 1, for jitter only. */
  readonly random: () => number;
  readonly setTimeout: (action: () => void, milliseconds: number) => number;
  readonly clearTimeout: (timer: number) => void;
}

export function browserPlatform(): Platform {
  const scope = globalThis as typeof globalThis & { navigator?: Navigator };
  return {
    fetch: (...all) => scope.fetch(...all),
    WebSocket: scope.WebSocket,
    RTCPeerConnection: scope.RTCPeerConnection,
    getUserMedia: (constraints) => {
      const devices = scope.navigator?.mediaDevices;
      return devices === undefined ? Promise.reject(new DOMException("no media devices", "NotFoundError")) : devices.getUserMedia(constraints);
    },
    indexedDB: scope.indexedDB,
    network: browserNetwork(),
    now: () => Date.now(),
    random: () => Math.random(),
    setTimeout: (action, milliseconds) => scope.setTimeout(action, milliseconds) as unknown as number,
    clearTimeout: (timer) => { scope.clearTimeout(timer); },
  };
}
