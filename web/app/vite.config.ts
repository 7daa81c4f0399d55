import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

import vue from '@vitejs/plugin-vue';
import { defineConfig, type Connect, type Plugin } from 'vite';

const server = process.env['LECTERN_SERVER'] ?? 'http://127.0.0.1:8080';

/** `npm run dev` answers the same addresses as the server does. */
function pages(): Plugin {
  const rewrite: Connect.NextHandleFunction = (request, _response, next) => {
    const path = (request.url ?? '/').split('?')[0] ?? '/';
    if (path.startsWith('/room/')) request.url = '/room.html';
    else if (path.startsWith('/replay/')) request.url = '/replay.html';
    else if (path === '/console') request.url = '/console.html';
    else if (path === '/check') request.url = '/check.html';
    else if (path === '/desktop') request.url = '/desktop.html';
    next();
  };
  return { name: 'lectern-pages', configureServer: (dev) => void dev.middlewares.use(rewrite) };
}

/** Puts `boot.js` into each page as it is, before all else. */
function boot(): Plugin {
  const children = readFileSync(resolve(import.meta.dirname, 'boot.js'), 'utf8');
  return { name: 'lectern-boot', transformIndexHtml: () => [{ tag: 'script', children, injectTo: 'head-prepend' }] };
}

export default defineConfig({
  plugins: [
    vue({ template: { compilerOptions: { isCustomElement: (tag) => tag.startsWith('lectern-') } } }),
    pages(),
    boot(),
  ],
  resolve: { conditions: ['lectern-source', 'browser', 'module', 'import', 'default'] },
  define: { __VUE_OPTIONS_API__: false, __VUE_PROD_DEVTOOLS__: false },
  server: {
    proxy: {
      '/socket.io': { target: server, ws: true },
      '/api': server,
    },
  },
  build: {
    target: 'es2022',
    outDir: '../dist',
    emptyOutDir: true,
    // The Content-Security-Policy has no data: fonts and no inline code.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: Object.fromEntries(
        ['index', 'room', 'replay', 'check', 'console', 'desktop'].map((page) => [
          page,
          resolve(import.meta.dirname, `${page}.html`),
        ]),
      ),
    },
  },
});
