import { defineConfig } from 'vite';

// One file with everything in it, for a plain <script type="module">.
export default defineConfig({
  resolve: { conditions: ['lectern-source', 'browser', 'module', 'import', 'default'] },
  build: {
    target: 'es2022',
    sourcemap: true,
    lib: { entry: 'src/index.ts', formats: ['es'], fileName: () => 'lectern-call.js' },
  },
});
