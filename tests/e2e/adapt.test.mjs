// Media that adapts, as people meet it: less for oneself, budgets, layers that stop, and words for what is small.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { newPage } from './lib/chromium.mjs';
import { Classroom } from './lib/classroom.mjs';
import { until } from './lib/until.mjs';
import { say } from './lib/words.mjs';
import { World } from './lib/world.mjs';

let world;
before(async () => (world = await World.start()));
after(() => world?.stop());

const opened = [];
async function enter(claims) {
  const person = await Classroom.open(world.browser, await world.server.link(claims));
  opened.push(person);
  await person.join();
  return person;
}
async function leaveAll() {
  const troubles = opened.flatMap((person) => person.page.troubles);
  for (const person of opened.splice(0)) await person.close();
  assert.deepEqual(troubles, []);
}

test('sound only: the picture pauses with the reason, and comes back', { timeout: 120_000 }, async () => {
  const room = world.room('saver');
  const teacher = await enter({
    room,
    identity: 'ada',
    name: 'Ada',
    role: 'teacher',
    preset: 'seminar',
  });
  const student = await enter({
    room,
    identity: 'ben',
    name: 'Ben',
    role: 'student',
  });
  await Promise.all([teacher.sees('Ben'), student.sees('Ada')]);

  const settings = student.page.getByRole('dialog', {
    name: say('settings.title'),
  });
  const choose = async (mode) => {
    await student.button('bar.settings').click();
    await settings.getByText(say(`data.${mode}`), { exact: true }).click();
    await settings.getByText(say(`data.hint.${mode}`)).waitFor();
    await settings.getByRole('button', { name: say('common.close') }).click();
  };
  await choose('audio-only');
  const why = student.tile('Ada').getByRole('img', { name: say('why.policy.paused') });
  await why.waitFor({ timeout: 15_000 });
  // Everybody else sees as before.
  await teacher.sees('Ben');
  assert.equal(
    await teacher
      .tile('Ben')
      .getByRole('img', { name: say('why.policy.paused') })
      .count(),
    0,
  );
  await choose('normal');
  await why.waitFor({ state: 'detached', timeout: 15_000 });
  await student.sees('Ada');

  // The choice is remembered, and the figures are a key away.
  await choose('data-saver');
  assert.match(await student.page.evaluate(() => localStorage.getItem('lectern.receive')), /data-saver/);
  await student.page.keyboard.press('i');
  const figures = student.page.getByRole('dialog', {
    name: say('stats.title'),
  });
  await figures.getByText('Ada', { exact: true }).waitFor();
  await until('the figures move', async () => /[1-9]\d* [kM]bit\/s/.test(await figures.innerText()));
  await leaveAll();
});

test('a budget in the link: small pictures, then sound only, and the page says so', { timeout: 180_000 }, async () => {
  const room = world.room('budget');
  const teacher = await enter({
    room,
    identity: 'ada',
    name: 'Ada',
    role: 'teacher',
    preset: 'seminar',
  });
  const student = await enter({
    room,
    identity: 'ben',
    name: 'Ben',
    role: 'student',
    budgetMegabytes: 1,
  });
  await student.sees('Ada');
  await student.page.getByText(say('data.now.audio-only')).first().waitFor({ timeout: 90_000 });
  await student
    .tile('Ada')
    .getByRole('img', { name: say('why.policy.paused') })
    .waitFor({ timeout: 15_000 });
  // One's own wish does not lift it, and the meter shows it full.
  await student.button('bar.settings').click();
  const settings = student.page.getByRole('dialog', {
    name: say('settings.title'),
  });
  await settings.getByText(say('data.now.audio-only')).waitFor();
  const used = settings.getByRole('meter', { name: say('data.meter') });
  assert.equal(await used.getAttribute('aria-valuenow'), '100');
  await settings.getByLabel(say('data.budget')).fill('5000');
  await settings.getByLabel(say('data.budget')).press('Enter');
  await settings.getByText(say('data.bound', { count: '1' })).waitFor();
  // The own camera stops too: the teacher sees a face stand in.
  const ben = teacher.tile('Ben');
  await ben.getByRole('img', { name: /Ben’s network is slow/ }).waitFor({ timeout: 30_000 });
  await leaveAll();
});

test('what holds a sender back reaches the teacher, in words', { timeout: 120_000 }, async () => {
  const room = world.room('trouble');
  const lab = await world.lab();
  await world.join(lab, { room, identity: 'ben', name: 'Ben' });
  const teacher = await enter({
    room,
    identity: 'ada',
    name: 'Ada',
    role: 'teacher',
  });
  await teacher.sees('Ben');
  // The browser says that it is held back: the session reads it where it reads everything.
  await lab.evaluate(`(RTCRtpSender.prototype.getStats = async () => new Map([
    ['a', { type: 'outbound-rtp', active: true, qualityLimitationReason: 'cpu' }]]), null)`);
  await teacher.openPanel('bar.people');
  const list = teacher.page.getByRole('region', {
    name: say('people.busy.one', { count: '1' }),
  });
  await list.getByText('Ben', { exact: true }).waitFor({ timeout: 20_000 });
  await list.getByText(say('trouble.sending-cpu'), { exact: true }).waitFor();
  await lab.evaluate(`(RTCRtpSender.prototype.getStats = async () => new Map(), null)`);
  await list.waitFor({ state: 'detached', timeout: 20_000 });
  await leaveAll();
});

test('layers that nobody watches stop, and come back', { timeout: 120_000 }, async () => {
  const room = world.room('layers');
  const lab = await world.lab();
  await world.join(lab, {
    room,
    identity: 'ada',
    name: 'Ada',
    role: 'teacher',
  });
  const sent = async () => {
    const { sent } = await lab.evaluate(`lab.stats('ada')`);
    return sent.filter(({ kind, bitrateBps }) => kind === 'video' && bitrateBps > 10_000).map(({ rid }) => rid);
  };
  // Nobody is there: all layers stop.
  await until('nothing is sent', async () => (await sent()).length === 0, {
    within: 40_000,
    every: 1_000,
  });
  await world.join(lab, {
    room,
    identity: 'ben',
    look: 1,
    viewWidth: 160,
    viewHeight: 90,
  });
  await until('the smallest is sent', async () => (await sent()).includes('q'), { within: 20_000, every: 1_000 });
  await until('and no other', async () => (await sent()).join() === 'q', {
    within: 40_000,
    every: 1_000,
  });
});

test('a browser takes layers off and on, also with another track', { timeout: 60_000 }, async () => {
  const page = await newPage(world.browser);
  await page.goto(`${world.front.url}/lab/`);
  const seen = await page.evaluate(async () => {
    const { Encodings } = await import('/lab/client/encodings.js');
    const paint = () => {
      // Of a smaller one there would be fewer layers.
      const canvas = Object.assign(document.createElement('canvas'), { width: 1280, height: 720 });
      canvas.getContext('2d').fillRect(0, 0, 9, 9);
      return canvas.captureStream(5).getVideoTracks()[0];
    };
    const sendEncodings = ['q', 'h', 'f'].map((rid) => ({
      rid,
      maxBitrate: 100_000,
    }));
    const connection = new RTCPeerConnection();
    const { sender } = connection.addTransceiver(paint(), {
      direction: 'sendonly',
      sendEncodings,
    });
    const encodings = new Encodings(() => sender);
    const active = () => sender.getParameters().encodings.map((encoding) => encoding.active);
    const seen = [];
    for (let count = 0; count < 10; count += 1) encodings.need('camera', [true, count % 2 === 0, false]);
    encodings.need('camera', [true, false, false]);
    await encodings.apply('camera');
    seen.push(active());
    const stopped = performance.now();
    while (active()[2] && performance.now() - stopped < 10_000) await new Promise((go) => setTimeout(go, 50));
    seen.push(active());
    await sender.replaceTrack(paint());
    await encodings.apply('camera');
    seen.push(active());
    encodings.need('camera', [false, false, true]);
    await encodings.apply('camera');
    seen.push(active());
    connection.close();
    await encodings.apply('camera');
    return seen;
  });
  assert.deepEqual(seen, [
    [true, true, true],
    [true, false, false],
    [true, false, false],
    [true, false, true],
  ]);
  assert.deepEqual(page.troubles, []);
});
