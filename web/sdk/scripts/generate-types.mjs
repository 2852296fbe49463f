// Writes src/wire.ts from the generated documents of the server: docs/openapi.json and docs/asyncapi.json.
// With --check it writes nothing, and fails when the file is not what it would write.
import { readFileSync } from "node:fs";
import { put, typesOf } from "../../common/generate-types.mjs";

const root = new URL("../../../docs/", import.meta.url);
const read = (name) => JSON.parse(readFileSync(new URL(name, root), "utf8"));
const asyncapi = read("asyncapi.json");
const schemas = { ...read("openapi.json").components.schemas, ...asyncapi.components.schemas };

// what the hub or a client leaves out when it has its default
const sent = Object.keys(schemas).filter((name) => schemas[name].properties?.type?.enum).sort();
const last = (reference) => reference.split("/").at(-1);
const requests = asyncapi.operations.fromClient.messages.map((one) => last(asyncapi.components.messages[last(one.$ref)].payload.$ref));
let text = `// Generated from docs/openapi.json and docs/asyncapi.json by scripts/generate-types.mjs. Do not edit.\n\n${typesOf(schemas)}`;
text += `/** Everything that a client may send. */\nexport type ClientMessage = ${sent.filter((n) => requests.includes(n)).join(" | ")};\n\n`;
text += `/** Everything that the hub may send. */\nexport type ServerMessage = ${sent.filter((n) => !requests.includes(n)).join(" | ")};\n`;
put(new URL("../src/wire.ts", import.meta.url), text);
