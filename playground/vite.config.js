import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { defineConfig } from 'vite';

// The server embeds what this leaves behind and sends it as it is, hence gzip here and not there.
// `index.html` stays raw: it is small, and has to reach every client.
function gzip() {
  return {
    name: 'gzip',
    async writeBundle({ dir }, bundle) {
      for (const name of Object.keys(bundle)) {
        if (name === 'index.html') continue;
        const file = join(dir, name);
        const packed = gzipSync(await readFile(file), { level: 9 });
        // Byte 9 names the operating system; 255 for "unknown" keeps builds alike everywhere.
        packed[9] = 255;
        await writeFile(`${file}.gz`, packed);
        await rm(file);
      }
    },
  };
}

export default defineConfig({
  base: '/playground/',
  build: {
    target: 'es2022',
    // The content policy has no `data:` for scripts and styles.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 5000,
    reportCompressedSize: false,
    license: { fileName: 'licenses.md' },
    // "use client" means nothing without a rendering server, yet gets a warning for each of 60 files.
    rolldownOptions: { checks: { moduleLevelDirective: false } },
  },
  worker: { format: 'es' },
  plugins: [gzip()],
});
