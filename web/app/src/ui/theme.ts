// Light or dark: what the person chose, else what the system says. The choice is an attribute of the root element.
import { computed, ref, watchEffect, type Ref } from 'vue';

import { readStored, writeStored } from './stored';

/** What the person chose. */
export type ThemeChoice = 'system' | 'light' | 'dark';

const KEY = 'lectern.theme';
const choice: Ref<ThemeChoice> = ref(parse(readStored(KEY)));
const systemDark = ref(false);

function parse(text: string | undefined): ThemeChoice {
  return text === 'light' || text === 'dark' ? text : 'system';
}

const theme = computed(() => (choice.value === 'system' ? (systemDark.value ? 'dark' : 'light') : choice.value));

/** Follows the system and the choice from now on; called once by each page before it mounts. */
export function startTheme(): void {
  const query = window.matchMedia('(prefers-color-scheme: dark)');
  systemDark.value = query.matches;
  query.addEventListener('change', (event) => (systemDark.value = event.matches));
  watchEffect(() => {
    document.documentElement.dataset['theme'] = theme.value;
  });
}

/** The theme shown, the choice, and a way to change it. */
export function useTheme() {
  return {
    theme,
    choice: computed({
      get: () => choice.value,
      set: (value: ThemeChoice) => {
        choice.value = value;
        writeStored(KEY, value);
      },
    }),
  };
}
