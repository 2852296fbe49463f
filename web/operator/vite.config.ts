import preact from "@preact/preset-vite";
import { defineConfig } from "vite";

/** The page is served at /operator/ under `default-src 'self'`: nothing is inlined, neither scripts nor data: URLs. */
export default defineConfig({
  base: "/operator/",
  plugins: [preact({ prefreshEnabled: false, devToolsEnabled: false })],
  build: { target: "es2022", outDir: "dist", emptyOutDir: true, assetsInlineLimit: 0, modulePreload: { polyfill: false } },
  server: { proxy: { "/v1": { target: "http://127.0.0.1:8440" } } },
});
