import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("..", import.meta.url));

test("`npm pack` gives a clean package with types", { timeout: 60_000 }, () => {
  const answer = execFileSync("npm", ["pack", "--dry-run", "--json"], { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const parsed = JSON.parse(answer.slice(answer.search(/[[{]/u))) as Record<string, { files: { path: string }[] }> | { files: { path: string }[] }[];
  const files = Object.values(parsed)[0]!.files.map((file) => file.path);
  for (const path of ["package.json", "README.md", "API.md", "dist/index.js", "dist/index.d.ts", "dist/client.d.ts"]) expect(files).toContain(path);
  expect(files.filter((path) => !/^(dist\/[\w-]+\.(js|d\.ts)|package\.json|README\.md|API\.md)$/u.test(path))).toEqual([]);
});

test("the types of the wire are those of the server's documents", () => {
  execFileSync("node", ["scripts/generate-types.mjs", "--check"], { cwd: root });
});
