import { readFileSync } from 'node:fs';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type Plugin } from 'vite';
import { parse } from 'yaml';
import { operationsOf } from './operations.ts';

/** The operations of openapi.yaml as a module: what the page "API" offers to try. */
function operations(): Plugin {
  const id = 'virtual:operations';
  const file = new URL('../../openapi.yaml', import.meta.url);
  return {
    name: 'operations',
    resolveId: (source) => (source === id ? `\0${id}` : undefined),
    load(source) {
      if (source !== `\0${id}`) return undefined;
      return `export default JSON.parse(${JSON.stringify(JSON.stringify(operationsOf(parse(readFileSync(file, 'utf8')))))})`;
    },
  };
}

const server = process.env.TIPRING_URL ?? 'http://127.0.0.1:8080';

export default defineConfig({
  base: './',
  plugins: [svelte(), operations()],
  build: { target: 'es2023', assetsInlineLimit: 0, modulePreload: { polyfill: false }, sourcemap: false },
  server: { proxy: { '/v1': server, '/docs': server, '/rtc': { target: server, ws: true } } },
});
