/** A panel beside the stage. */
export type Panel = 'people' | 'chat';
