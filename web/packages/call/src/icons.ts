/** Outline icons on a grid of 24, drawn here so that the element is one file. */
const PATHS = {
  microphone: ['M12 3a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3z', 'M5.5 11a6.5 6.5 0 0 0 13 0', 'M12 17.5V21'],
  microphoneOff: [
    'M9 7v4a3 3 0 0 0 4.6 2.5M15 11V6a3 3 0 0 0-5.8-1',
    'M5.5 11a6.5 6.5 0 0 0 10 5.5M18.5 11c0 1-.2 1.9-.6 2.7',
    'M12 17.5V21',
    'M4 3.5l16 17',
  ],
  camera: ['M4.5 6.5h9a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2h-9a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2z', 'M15.5 11l6-3.5v9l-6-3.5'],
  cameraOff: [
    'M9 6.5h4.5a2 2 0 0 1 2 2V13M15 16.7a2 2 0 0 1-1.5.8h-9a2 2 0 0 1-2-2v-7a2 2 0 0 1 1.5-1.9',
    'M15.5 11l6-3.5v9l-4-2.3',
    'M4 3.5l16 17',
  ],
  screen: [
    'M4.5 4.5h15a2 2 0 0 1 2 2v8.5a2 2 0 0 1-2 2h-15a2 2 0 0 1-2-2V6.5a2 2 0 0 1 2-2z',
    'M8.5 20.5h7',
    'M12 14V8M9.2 10.3L12 7.5l2.8 2.8',
  ],
  screenOff: [
    'M4.5 4.5h15a2 2 0 0 1 2 2v8.5a2 2 0 0 1-2 2h-15a2 2 0 0 1-2-2V6.5a2 2 0 0 1 2-2z',
    'M8.5 20.5h7',
    'M9.5 8.3l5 5M14.5 8.3l-5 5',
  ],
  leave: [
    'M3.2 15.2c-1-1.5-.8-3.4.6-4.6 4.6-3.9 11.8-3.9 16.4 0 1.4 1.2 1.6 3.1.6 4.6-.5.7-1.4.9-2.2.5l-2.5-1.2c-.7-.3-1.1-1-1.1-1.8v-1.2a12 12 0 0 0-6 0v1.2c0 .8-.4 1.5-1.1 1.8l-2.5 1.2c-.8.4-1.7.2-2.2-.5z',
  ],
  speaker: ['M4 9.5v5h3.5L12 18.5v-13L7.5 9.5z', 'M15.5 9a4.2 4.2 0 0 1 0 6M18 6.5a7.8 7.8 0 0 1 0 11'],
  reduced: ['M9.5 4v5.5H4M9.5 9.5L3.5 3.5', 'M14.5 20v-5.5H20M14.5 14.500l6 6'],
  signal: ['M5 19v-3M12 19v-7', 'M19 19V6M16 9l6 6'],
} as const;

export type IconName = keyof typeof PATHS;

const SVG = 'http://www.w3.org/2000/svg';

export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('viewBox', '0 0 24 24');
  svg.setAttribute('aria-hidden', 'true');
  for (const d of PATHS[name]) {
    const path = document.createElementNS(SVG, 'path');
    path.setAttribute('d', d);
    svg.append(path);
  }
  return svg;
}
