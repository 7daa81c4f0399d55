// Takes the README's picture from the real page: `node picture.mjs [file]`. A student looks at a class of drawn people.
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Classroom } from './lib/classroom.mjs';
import { newPage } from './lib/chromium.mjs';
import { root } from './lib/server.mjs';
import { sleep, until } from './lib/until.mjs';
import { World } from './lib/world.mjs';

const file = process.argv[2] ?? join(root, 'docs/class.png');
const world = await World.start();
try {
  const room = 'knots';
  const lab = await world.lab();
  const people = ['Ada Lovelace', 'Kofi Mensah', 'Emmy Noether', 'Srinivasa R.', 'Niels Abel'];
  for (const [drawn, name] of people.entries()) {
    await world.join(lab, {
      room,
      name,
      drawn,
      identity: name.split(' ')[0].toLowerCase(),
      role: drawn === 0 ? 'teacher' : 'student',
      preset: 'seminar',
      title: 'Knots and links',
      watch: false,
      gain: drawn === 0 ? 0.3 : 0,
    });
  }
  await lab.must('publish', 'ada', 'screen', {});
  const drawing = readFileSync(fileURLToPath(new URL('lab/portrait.js', import.meta.url)), 'utf8');
  const page = await newPage(world.browser, { viewport: { width: 1280, height: 760 }, colorScheme: 'light' });
  await page.addInitScript(`${drawing}
    const devices = navigator.mediaDevices;
    const real = devices.getUserMedia.bind(devices);
    devices.getUserMedia = async (wanted) => {
      const stream = await real(wanted);
      if (!wanted.video) return stream;
      return new MediaStream([...stream.getAudioTracks(), portrait(5)]);
    };`);
  await page.goto(await world.server.link({ room, identity: 'maryam', name: 'Maryam Mirzakhani' }));
  const me = new Classroom(page);
  await me.join();
  await lab.call('ada', 'chat', 'Take a piece of string and follow along.');
  await lab.call('kofi', 'chat', 'Is the left one the same as the right one?');
  await lab.call('ada', 'chat', 'Good question! Try to turn one into the other.');
  await lab.call('emmy', 'hand', true);
  await lab.call('niels', 'hand', true);
  await me.say('It does not work, however I turn it');
  await until('all pictures play', () =>
    page
      .locator('article video')
      .evaluateAll(
        (videos) =>
          videos.filter((video) => video.srcObject).every((video) => video.videoWidth > 0) && videos.length > 4,
      ),
  );
  // The larger layers come in, the notes go.
  await sleep(8000);
  await page.mouse.move(640, 5);
  await page.screenshot({ path: file });
  console.log(`${file}: ${Math.round(statSync(file).size / 1024)} KB`);
} finally {
  await world.stop();
}
