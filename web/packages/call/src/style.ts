/** The look of the element. Colours and sizes can be changed from outside through the custom properties of `:host`. */
const CSS = `
:host {
  --lc-accent: #0c7a70;
  --lc-on-accent: #fff;
  --lc-bg: #eaeeee;
  --lc-surface: #fff;
  --lc-surface-2: #f1f4f4;
  --lc-text: #14201f;
  --lc-text-2: #4a5957;
  --lc-border: #dfe5e4;
  --lc-danger: #cb2f28;
  --lc-on-danger: #fff;
  --lc-warn-soft: #fdf2d8;
  --lc-warn-text: #855300;
  --lc-speaking: #17a594;
  --lc-tile: #20262b;
  --lc-shadow: 0 4px 14px rgb(20 32 31 / 12%), 0 1px 3px rgb(20 32 31 / 8%);
  --lc-font: 'Inter Variable', system-ui, -apple-system, 'Segoe UI', Roboto, 'PingFang SC', 'Microsoft YaHei',
    'Noto Sans SC', 'Noto Sans CJK SC', sans-serif;
  display: block;
  position: relative;
  overflow: hidden;
  container-type: size;
  min-width: 200px;
  min-height: 160px;
  color-scheme: light;
  background: var(--lc-bg);
  color: var(--lc-text);
  font: 400 14px/1.45 var(--lc-font);
  -webkit-font-smoothing: antialiased;
}
:host([hidden]) { display: none; }
:host([data-theme='dark']) {
  --lc-accent: #3fc0b0;
  --lc-on-accent: #04201d;
  --lc-bg: #0b0f11;
  --lc-surface: #1b2124;
  --lc-surface-2: #262e31;
  --lc-text: #edf2f1;
  --lc-text-2: #b3bfbd;
  --lc-border: #2d3639;
  --lc-danger: #e5534b;
  --lc-on-danger: #1f0504;
  --lc-warn-soft: #35290f;
  --lc-warn-text: #f3c76b;
  --lc-speaking: #3fd0bd;
  --lc-tile: #1b2124;
  --lc-shadow: 0 4px 14px rgb(0 0 0 / 40%), 0 0 0 1px rgb(255 255 255 / 5%);
  color-scheme: dark;
}
*, *::before, *::after { box-sizing: border-box; }
[hidden] { display: none !important; }
button { font: inherit; color: inherit; cursor: pointer; }
:focus-visible { outline: 2px solid var(--lc-accent); outline-offset: 2px; }
svg { width: 20px; height: 20px; fill: none; stroke: currentColor; stroke-width: 1.75; stroke-linecap: round;
  stroke-linejoin: round; flex: none; }

.frame { position: absolute; inset: 0; display: flex; flex-direction: column; }
.tiles { position: relative; flex: 1; min-height: 0; margin: 10px 10px 0; }

.tile { position: absolute; overflow: hidden; border-radius: 12px; background: var(--lc-tile); color: #f4f7f7;
  animation: appear 180ms ease-out; }
.tile[data-small] { border-radius: 9px; }
.tile.corner { z-index: 2; box-shadow: 0 6px 20px rgb(0 0 0 / 35%); }
@keyframes appear { from { opacity: 0; } }
.tile::after { content: ''; position: absolute; inset: 0; border-radius: inherit; pointer-events: none;
  box-shadow: inset 0 0 0 1px rgb(255 255 255 / 7%); transition: box-shadow 140ms ease-out; }
.tile.speaking::after { box-shadow: inset 0 0 0 3px var(--lc-speaking); }
.tile video { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: cover; opacity: 0;
  transition: opacity 140ms ease-out; }
.tile.playing video { opacity: 1; }
.tile.mirrored video { transform: scaleX(-1); }
.tile.whole video { object-fit: contain; background: #0b0f11; }
.avatar { position: absolute; inset: 0; display: grid; place-content: center; justify-items: center; gap: 8px; }
.avatar .why { max-width: 85cqw; margin: 0; color: rgb(232 238 237 / 82%); font-size: 12.5px; line-height: 1.35; text-align: center; }
.avatar .why:empty, .tile[data-small] .why { display: none; }
.avatar span { display: grid; place-items: center; width: clamp(32px, 34cqmin, 96px); aspect-ratio: 1; border-radius: 50%;
  font-weight: 600; font-size: clamp(12px, 12cqmin, 34px); letter-spacing: 0.01em; color: #fff; user-select: none; }
.tile { container-type: size; }
.tile.playing .avatar { visibility: hidden; }
.label { position: absolute; left: 6px; bottom: 6px; max-width: calc(100% - 12px); display: flex; align-items: center;
  gap: 5px; padding: 3px 8px; border-radius: 7px; background: rgb(12 16 18 / 62%); font-size: 12.5px; line-height: 1.4;
  pointer-events: none; }
.label .name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.label svg { width: 14px; height: 14px; }
.label .off { color: #ff938c; }
.label .weak { color: #f3c76b; }
.label .reduced { opacity: 0.8; }
.tile[data-small] .label { left: 4px; bottom: 4px; padding: 1px 6px; font-size: 11px; }
.more { display: grid; place-items: center; background: var(--lc-surface-2); color: var(--lc-text); font-size: 20px;
  font-weight: 600; }

.bar { display: flex; align-items: center; justify-content: center; gap: 8px; padding: 10px; flex: none; }
.control { display: grid; place-items: center; width: 44px; height: 44px; padding: 0; border: 0; border-radius: 50%;
  background: var(--lc-surface); color: var(--lc-text); box-shadow: 0 1px 2px rgb(0 0 0 / 10%);
  transition: background-color 120ms ease-out, color 120ms ease-out; }
.control:hover { background: var(--lc-surface-2); }
.control[aria-pressed='false'].device { background: var(--lc-danger); color: var(--lc-on-danger); }
.control[aria-pressed='true'].share { background: var(--lc-accent); color: var(--lc-on-accent); }
.control.leave { width: 60px; border-radius: 22px; background: var(--lc-danger); color: var(--lc-on-danger); }
.control.leave:hover, .control[aria-pressed='false'].device:hover { filter: brightness(0.92); }
.control:disabled { opacity: 0.45; cursor: default; }
.count { position: absolute; right: 14px; bottom: 20px; color: var(--lc-text-2); font-size: 12.5px; }

.notes { position: absolute; z-index: 4; top: 18px; left: 12px; right: 12px; display: flex; flex-direction: column;
  align-items: center; gap: 8px; pointer-events: none; }
.note { display: flex; align-items: center; gap: 8px; max-width: 100%; padding: 7px 14px; border: 0; border-radius: 12px;
  background: var(--lc-surface); color: var(--lc-text); box-shadow: var(--lc-shadow); font-size: 13px;
  animation: appear 180ms ease-out; pointer-events: auto; text-align: start; }
.note.warn { background: var(--lc-warn-soft); color: var(--lc-warn-text); }
button.note { background: var(--lc-accent); color: var(--lc-on-accent); font-weight: 600; }

.card { position: absolute; inset: 0; z-index: 3; display: grid; place-content: center; justify-items: center; gap: 6px;
  padding: 24px; text-align: center; background: var(--lc-bg); }
.card h2 { margin: 0; font-size: 18px; font-weight: 620; letter-spacing: -0.01em; text-wrap: balance; }
.card p { margin: 0; max-width: 38ch; color: var(--lc-text-2); text-wrap: balance; }
.card button { margin-top: 14px; padding: 10px 20px; border: 0; border-radius: 10px; background: var(--lc-accent);
  color: var(--lc-on-accent); font-weight: 600; }
.spinner { width: 28px; height: 28px; margin-bottom: 10px; border: 3px solid var(--lc-border);
  border-top-color: var(--lc-accent); border-radius: 50%; animation: turn 800ms linear infinite; }
.note .spinner { width: 14px; height: 14px; margin: 0; border-width: 2px; }
@keyframes turn { to { transform: rotate(1turn); } }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
audio { display: none; }

@container (max-width: 559px) {
  .tiles { margin: 6px 6px 0; }
  .bar { padding: 8px; }
  .count { display: none; }
}
@container (max-height: 280px) {
  .bar { padding: 5px; }
  .control { width: 36px; height: 36px; }
  .control.leave { width: 50px; }
}
@media (prefers-reduced-motion: reduce) {
  *, *::before, *::after { animation-duration: 1ms !important; transition-duration: 1ms !important; }
  .spinner { animation-duration: 2s !important; }
}
@media (forced-colors: active) {
  .tile.speaking { outline: 3px solid Highlight; outline-offset: -3px; }
  .control { border: 1px solid ButtonText; }
}
`;

let sheet: CSSStyleSheet | undefined;

/** One sheet for all elements of the page; constructed, so that a Content-Security-Policy without inline styles allows it. */
export function styleSheet(): CSSStyleSheet {
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(CSS);
  }
  return sheet;
}
