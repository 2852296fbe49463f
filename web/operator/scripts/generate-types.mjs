// Writes src/wire.ts from docs/admin-openapi.json. With --check it writes nothing, and fails when the file is not what it would write.
import { readFileSync } from "node:fs";
import { put, typesOf } from "../../common/generate-types.mjs";

const { components } = JSON.parse(readFileSync(new URL("../../../docs/admin-openapi.json", import.meta.url), "utf8"));
put(new URL("../src/wire.ts", import.meta.url), `// Generated from docs/admin-openapi.json by scripts/generate-types.mjs. Do not edit.\n\n${typesOf(components.schemas).trimEnd()}\n`);
