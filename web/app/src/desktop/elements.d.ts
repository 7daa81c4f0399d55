import type { DefineComponent } from 'vue';

declare module 'vue' {
  interface GlobalComponents {
    'lectern-call': DefineComponent<{ token: string; url?: string; lang?: string; theme?: 'light' | 'dark' }>;
  }
}
