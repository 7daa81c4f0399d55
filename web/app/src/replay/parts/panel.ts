/** A panel beside the pictures. */
export type ReplayPanel = 'chat' | 'people' | 'contents';
