/** KloudTalk in a browser: end-to-end encrypted voice calls. Start with `KloudTalkClient.open`; `API.md` describes everything. */
export { KloudTalkClient, type OpenOptions } from "./client.js";
export { KloudTalkError, explain, type LocalErrorCode } from "./errors.js";
export { parsePhonebook, type CountryCode } from "./phonebook.js";
export { finding, type Checked, type Finding } from "./sound-check.js";
export { safetyNumber } from "./safety-number.js";
export { verifyCertificate } from "./certificates.js";
export { OprfClient, type Blinded } from "./oprf.js";
export { open, seal, SealError, type Content, type Route } from "./sealing.js";
export type { Network, NetworkEvents } from "./network.js";
export type { Platform } from "./platform.js";
export type * from "./state.js";
export { ATTACHMENT_TYPES, Services, type ChosenFile } from "./services.js";
export type { Announcement, Order, Plan, Ticket } from "./wire.js";
export type { ErrorCode, Reason, DeviceCertificate, CertificateLink } from "./wire.js";
