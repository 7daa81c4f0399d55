/** A Markdown table. */
export const table = (head, rows) =>
  [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');

export const ms = (value) => `${Math.round(value)} ms`;
export const kib = (bytes) => `${Math.round(bytes / 1024)} KiB`;
