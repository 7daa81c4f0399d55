import vue from '@vitejs/plugin-vue';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  plugins: [vue()],
  // Tests read the packages' sources, not an earlier build of them.
  resolve: { conditions: ['lectern-source', 'browser', 'module', 'import', 'default'] },
  ssr: { resolve: { conditions: ['lectern-source', 'node', 'module', 'import', 'default'] } },
  test: {
    include: ['packages/*/test/**/*.test.ts', 'app/**/*.test.ts'],
    environment: 'node',
    testTimeout: 20_000,
  },
});
