import vue from '@vitejs/plugin-vue';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  plugins: [vue()],
  // Tests read the packages' sources, not an earlier build of them.
  resolve: { conditions: ['lectern-source', 'node'] },
  ssr: { resolve: { conditions: ['lectern-source', 'node'] } },
  test: {
    include: ['packages/*/test/**/*.test.ts', 'app/**/*.test.ts'],
    environment: 'node',
    testTimeout: 20_000,
  },
});
