import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

export default defineConfig({
  plugins: [react()],
  // The policy allows no script and no style within a page, and no data address.
  build: { assetsInlineLimit: 0, modulePreload: { polyfill: false }, target: "es2022" },
  test: { environment: "node", include: ["src/**/*.test.ts"] },
});
