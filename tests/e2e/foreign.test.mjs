// WebRTC stacks that nobody here wrote, each of which sends media that Chromium shows and receives media that Chromium sends.
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ForeignClient } from './lib/foreign.mjs';
import { LOOKS } from './lib/lab.mjs';
import { root } from './lib/server.mjs';
import { until } from './lib/until.mjs';
import { World } from './lib/world.mjs';

let world;
before(async () => (world = await World.start()));
after(() => world?.stop());

const file = (path) => fileURLToPath(new URL(path, import.meta.url));

/** Starts a client that is ended with the test, whatever becomes of it. */
function start(t, command, args, options) {
  const client = new ForeignClient(command, args, options);
  t.after(() => client.kill());
  return client;
}

const CHROMIUM = 1;
const FOREIGN = 0;

/** Chromium in a room, as a teacher, whom everybody hears. */
async function chromium(room) {
  const lab = await world.lab();
  await world.join(lab, { room, identity: 'ben', look: CHROMIUM, role: 'teacher', preset: 'seminar' });
  return lab;
}

const gone = (lab, identity) =>
  until(`${identity} is gone`, async () => !(`${identity} camera` in (await lab.report('ben')).pictures));

test('aiortc joins over python-socketio: seen and heard, sees and hears', { timeout: 90_000 }, async (t) => {
  const room = world.room('aiortc');
  const lab = await chromium(room);
  const token = await world.server.token({ room, identity: 'ada', role: 'teacher' });
  const ada = start(t, join(root, '.venv/bin/python'), [file('python/aiortc_client.py')], {
    url: world.server.url,
    token,
    ...LOOKS[FOREIGN],
    watch: 'ben',
  });
  await ada.connected();
  await lab.sees('ben', 'ada', FOREIGN, { frames: 20 });
  await lab.hearsTone('ben', FOREIGN);
  await ada.sees(CHROMIUM);
  await ada.hearsTone(CHROMIUM);
  await ada.end();
  await gone(lab, 'ada');
});
