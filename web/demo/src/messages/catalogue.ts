/** What the page says: the texts of the first catalogue. The others must have each of them, and nothing else. */
import type german from "./de";

export type Message = keyof typeof german;
export type Catalogue = Readonly<Record<Message, string>>;
