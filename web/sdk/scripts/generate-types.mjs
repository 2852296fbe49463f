// Writes src/wire.ts from the generated documents of the server: docs/openapi.json and docs/asyncapi.json.
// With --check it writes nothing, and fails when the file is not what it would write.
import { readFileSync, writeFileSync } from "node:fs";

const root = new URL("../../../docs/", import.meta.url);
const read = (name) => JSON.parse(readFileSync(new URL(name, root), "utf8"));
const asyncapi = read("asyncapi.json");
const schemas = { ...read("openapi.json").components.schemas, ...asyncapi.components.schemas };

function type(schema) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.anyOf) return schema.anyOf.map(type).join(" | ");
  switch (schema.type) {
    case "string": return "string";
    case "integer": case "number": return "number";
    case "boolean": return "boolean";
    case "array": return `readonly ${/^\w+$/.test(type(schema.items)) ? type(schema.items) : `(${type(schema.items)})`}[]`;
    case "object": return schema.additionalProperties ? `{ readonly [key: string]: ${type(schema.additionalProperties)} }` : "object";
    default: throw new Error(`no TypeScript for ${JSON.stringify(schema)}`);
  }
}

const doc = (text, indent = "") => (text ? `${indent}/** ${text.replaceAll("``", "`").replaceAll("*/", "* /").split(/\s+/).join(" ")} */\n` : "");
const sent = new Set(); // what the hub or a client leaves out when it has its default
let text = "// Generated from docs/openapi.json and docs/asyncapi.json by scripts/generate-types.mjs. Do not edit.\n\n";
for (const [name, schema] of Object.entries(schemas).sort(([a], [b]) => (a < b ? -1 : 1))) {
  text += doc(schema.description);
  if (schema.type !== "object" || !schema.properties) {
    text += `export type ${name} = ${type(schema)};\n\n`;
    continue;
  }
  const required = new Set(schema.required ?? []);
  text += `export interface ${name} {\n`;
  for (const [field, of] of Object.entries(schema.properties)) {
    text += doc(of.description, "  ");
    text += `  readonly ${field}${required.has(field) ? "" : "?"}: ${type(of)};\n`;
  }
  text += "}\n\n";
  if (schema.properties.type?.enum) sent.add(name);
}
const last = (reference) => reference.split("/").at(-1);
const requests = asyncapi.operations.fromClient.messages.map((one) => last(asyncapi.components.messages[last(one.$ref)].payload.$ref));
text += `/** Everything that a client may send. */\nexport type ClientMessage = ${[...sent].filter((n) => requests.includes(n)).join(" | ")};\n\n`;
text += `/** Everything that the hub may send. */\nexport type ServerMessage = ${[...sent].filter((n) => !requests.includes(n)).join(" | ")};\n`;
const target = new URL("../src/wire.ts", import.meta.url);
if (process.argv.includes("--check")) {
  if (readFileSync(target, "utf8") !== text) {
    console.error("src/wire.ts is not what docs/ say: npm run generate");
    process.exit(1);
  }
} else {
  writeFileSync(target, text);
}
