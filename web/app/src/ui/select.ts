import type { IconName } from './icons';

/** One thing to choose. */
export interface SelectOption<T extends string = string> {
  value: T;
  label: string;
}

/** A choice in a row of choices. */
export interface SegmentOption {
  value: string;
  label: string;
  icon?: IconName;
}
