// TypeScript types out of the generated documents of the server (JSON Schema).
import { readFileSync, writeFileSync } from "node:fs";

const isEmpty = (schema) => schema === true || Object.keys(schema).length === 0;

function type(schema) {
  if (isEmpty(schema)) return "unknown";
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

/** The text of the types of these schemas, by name. */
export function typesOf(schemas) {
  let text = "";
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
  }
  return text;
}

/** Writes the file; with --check on the command line it only says whether that would change it. */
export function put(target, text) {
  if (!process.argv.includes("--check")) writeFileSync(target, text);
  else if (readFileSync(target, "utf8") !== text) {
    console.error(`${target.pathname} is not what docs/ say: npm run generate`);
    process.exit(1);
  }
}
