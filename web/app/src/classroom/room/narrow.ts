// Whether the window is a phone's: too narrow for a panel beside the stage, or too low for a tall bar.
import { onScopeDispose, readonly, ref, type Ref } from 'vue';

const QUERY = '(width <= 760px), (height <= 480px)';

/** Follows the size of the window until the scope ends. */
export function useNarrow(): Readonly<Ref<boolean>> {
  const query = window.matchMedia(QUERY);
  const narrow = ref(query.matches);
  const changed = (event: MediaQueryListEvent) => (narrow.value = event.matches);
  query.addEventListener('change', changed);
  onScopeDispose(() => query.removeEventListener('change', changed));
  return readonly(narrow);
}
