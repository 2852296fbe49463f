/** The service around calls: support tickets (P27), announcements (P28), plans and orders (P29). */
import { fromBase64url, toBase64url } from "./bytes.js";
import type { Core } from "./core.js";
import type * as wire from "./wire.js";

/** A file that the user chose to attach. */
export interface ChosenFile { readonly name: string; readonly content: Blob }

/** Types of files that a ticket takes. */
export const ATTACHMENT_TYPES: readonly string[] = ["image/png", "image/jpeg", "image/webp", "text/plain", "application/json", "application/pdf", "application/zip"];

export class Services {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  async tickets(): Promise<readonly wire.Ticket[]> {
    const { tickets } = await this.#core.ask<wire.Tickets>("GET", "/v1/tickets");
    this.#core.set({ unreadAnswers: tickets.filter((ticket) => ticket.unread === true).length });
    return tickets;
  }
  ticket(ticket: string): Promise<wire.Ticket> {
    return this.#core.ask<wire.Ticket>("GET", `/v1/tickets/${ticket}`);
  }
  async openTicket(subject: string, text: string, files: readonly ChosenFile[] = []): Promise<wire.Ticket> {
    return this.#core.ask<wire.Ticket>("POST", "/v1/tickets", { subject, text, attachments: await attachments(files) } satisfies wire.OpenTicket);
  }
  async addToTicket(ticket: string, text: string, files: readonly ChosenFile[] = []): Promise<wire.Ticket> {
    const body: wire.AddTicketMessage = { text, attachments: await attachments(files) };
    return this.#core.ask<wire.Ticket>("POST", `/v1/tickets/${ticket}/messages`, body);
  }
  deleteTicket(ticket: string): Promise<void> {
    return this.#core.ask("DELETE", `/v1/tickets/${ticket}`);
  }
  async attachment(ticket: string, attachment: string): Promise<Blob> {
    const file = await this.#core.ask<wire.AttachmentContent>("GET", `/v1/tickets/${ticket}/attachments/${attachment}`);
    return new Blob([fromBase64url(file.content)], { type: file.media_type });
  }

  /** News about the service, newest first; nothing when this account objects to announcements. */
  async announcements(): Promise<readonly wire.Announcement[]> {
    return (await this.#core.ask<wire.Announcements>("GET", "/v1/announcements")).announcements;
  }

  plan(): Promise<wire.Plan> {
    return this.#core.ask<wire.Plan>("GET", "/v1/plan");
  }
  startTrial(): Promise<wire.Plan> {
    return this.#core.ask<wire.Plan>("POST", "/v1/plan/trial");
  }
  async orders(): Promise<readonly wire.Order[]> {
    return (await this.#core.ask<wire.Orders>("GET", "/v1/orders")).orders;
  }
  /** Orders a product; `checkout_url` of the answer is where to pay. */
  order(product: string): Promise<wire.Order> {
    return this.#core.ask<wire.Order>("POST", "/v1/orders", { product } satisfies wire.PlaceOrder);
  }
}

function attachments(files: readonly ChosenFile[]): Promise<wire.Attachment[]> {
  return Promise.all(files.map(async ({ name, content }) => ({
    name: name.replace(/[/\\\p{Cc}]/gu, "_").slice(0, 128), media_type: content.type, content: toBase64url(new Uint8Array(await content.arrayBuffer())),
  })));
}
