import preact from "@preact/preset-vite";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

/** The page is served under `default-src 'self'`: nothing is inlined, neither scripts nor data: URLs. */
export default defineConfig({
  plugins: [preact({ prefreshEnabled: false, devToolsEnabled: false })],
  resolve: { alias: { "@kloudtalk/sdk": fileURLToPath(new URL("../sdk/src/index.ts", import.meta.url)) } },
  build: { target: "es2022", outDir: "dist", emptyOutDir: true, assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  server: { proxy: { "/v1": { target: "http://127.0.0.1:8440", ws: true } } },
});
