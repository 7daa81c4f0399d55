// Moving pictures for the preview: a person before a wall, and a slide. Only for looking at the page without a server.
import { avatarColour } from '../ui/avatar';

const WALLS = [
  '#7d9aa3',
  '#a39a86',
  '#8b93a8',
  '#9aa58c',
  '#a58f98',
  '#87a09a',
  '#98897c',
  '#7f8fa0',
  '#a0a08a',
  '#8a8a9c',
];
const SHIRTS = [
  '#274b6d',
  '#5b3a5e',
  '#2d5f4f',
  '#6b4226',
  '#34425c',
  '#7a3b3b',
  '#3f5a34',
  '#4a4a6a',
  '#264653',
  '#5a4a3a',
];
const SKINS = ['#e3b594', '#c68f68', '#f0cdb0', '#8d5a3b', '#d9a17e', '#a8714e'];
const HAIRS = ['#2b211c', '#51382a', '#1c1c22', '#7a5a3c', '#3a2a2a'];

/** A camera of somebody. */
export function cameraOf(id: string): MediaStream {
  const canvas = document.createElement('canvas');
  canvas.width = 640;
  canvas.height = 360;
  const context = canvas.getContext('2d');
  const seed = avatarColour(id) + id.length * 3;
  let step = 0;
  const draw = () => {
    if (!context) return;
    const sway = Math.sin(step++ / 8) * 4;
    const wall = context.createLinearGradient(0, 0, 640, 360);
    wall.addColorStop(0, WALLS[seed % WALLS.length] ?? '#888');
    wall.addColorStop(1, '#4d5558');
    context.fillStyle = wall;
    context.fillRect(0, 0, 640, 360);
    context.fillStyle = 'rgba(255,255,255,.16)';
    context.fillRect(60 + seed * 9, 36, 110, 130);
    context.fillStyle = SHIRTS[(seed * 7) % SHIRTS.length] ?? '#333';
    context.beginPath();
    context.ellipse(320 + sway, 396, 172, 150, 0, 0, 7);
    context.fill();
    context.fillStyle = HAIRS[(seed * 3) % HAIRS.length] ?? '#222';
    context.beginPath();
    context.ellipse(320 + sway, 158, 76, 88, 0, 0, 7);
    context.fill();
    context.fillStyle = SKINS[(seed * 5) % SKINS.length] ?? '#caa';
    context.fillRect(294 + sway, 230, 52, 50);
    context.beginPath();
    context.ellipse(320 + sway, 176, 62, 76, 0, 0, 7);
    context.fill();
    context.fillStyle = '#2a1d18';
    context.beginPath();
    context.arc(298 + sway, 168, 5, 0, 7);
    context.arc(342 + sway, 168, 5, 0, 7);
    context.fill();
    context.strokeStyle = '#7d4a3c';
    context.lineWidth = 4;
    context.beginPath();
    context.arc(320 + sway, 198, 22, 0.3, 2.84);
    context.stroke();
  };
  draw();
  setInterval(draw, 100);
  return canvas.captureStream(10);
}

/** A shared screen: a slide. */
export function slide(): MediaStream {
  const canvas = document.createElement('canvas');
  canvas.width = 1600;
  canvas.height = 900;
  const context = canvas.getContext('2d');
  const draw = () => {
    if (!context) return;
    context.fillStyle = '#fdfdfb';
    context.fillRect(0, 0, 1600, 900);
    context.fillStyle = '#123c38';
    context.font = '700 64px sans-serif';
    context.fillText('Quadratic functions', 110, 150);
    context.font = '400 38px sans-serif';
    context.fillStyle = '#33413f';
    ['f(x) = ax² + bx + c', 'The vertex is at x = −b ⁄ 2a', 'a > 0 opens upwards, a < 0 downwards'].forEach(
      (line, index) => context.fillText(`•  ${line}`, 110, 270 + index * 80),
    );
    context.strokeStyle = '#0c7a70';
    context.lineWidth = 7;
    context.beginPath();
    for (let x = -300; x <= 300; x += 6) {
      const at: [number, number] = [1140 + x, 780 - (300 - (x * x) / 300)];
      if (x === -300) context.moveTo(...at);
      else context.lineTo(...at);
    }
    context.stroke();
    context.strokeStyle = '#99a';
    context.lineWidth = 3;
    context.strokeRect(800, 420, 680, 400);
  };
  draw();
  setInterval(draw, 500);
  return canvas.captureStream(2);
}
