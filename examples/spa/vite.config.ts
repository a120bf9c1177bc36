import { defineConfig } from 'vite';

// The server has to know this origin: see README.md.
const port = 5173;

export default defineConfig({
  server: { port, strictPort: true },
  preview: { port, strictPort: true },
  // Where the page's origin may not load `data:` addresses, files work.
  build: { assetsInlineLimit: 0, modulePreload: { polyfill: false } },
});
