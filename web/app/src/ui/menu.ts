import type { IconName } from './icons';

/** One thing to do. */
export interface MenuItem {
  id: string;
  label: string;
  icon?: IconName;
  /** Set on items that are on or off. */
  checked?: boolean;
  danger?: boolean;
  disabled?: boolean;
  /** A line above it. */
  separated?: boolean;
}
