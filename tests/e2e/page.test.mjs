// The class page as people use it: a teacher and students in their own browsers, by mouse and keyboard alone.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Classroom } from './lib/classroom.mjs';
import { until } from './lib/until.mjs';
import { say } from './lib/words.mjs';
import { World } from './lib/world.mjs';

let world;
before(async () => (world = await World.start()));
after(() => world?.stop());

const opened = [];
async function enter(claims, options) {
  const person = await Classroom.open(world.browser, await world.server.link(claims), options);
  opened.push(person);
  return person;
}
async function leaveAll() {
  const troubles = opened.flatMap((person) => person.page.troubles);
  for (const person of opened.splice(0)) await person.close();
  assert.deepEqual(troubles, []);
}

test('a class from the lobby to the end', { timeout: 120_000 }, async () => {
  const room = world.room('page');
  const teacher = await enter({
    room,
    identity: 'ada',
    name: 'Ada',
    role: 'teacher',
    preset: 'seminar',
    title: 'Knots and links',
  });
  await teacher.page.getByRole('heading', { name: 'Knots and links' }).waitFor();
  await teacher.page.locator('.look video').waitFor({ state: 'attached' });
  await teacher.join();
  const student = await enter({ room, identity: 'ben', name: 'Ben' });
  await student.join();
  await Promise.all([teacher.sees('Ben'), student.sees('Ada')]);

  // Chat, both ways, and with what would be markup.
  await student.say('Good morning');
  await teacher.reads('Good morning');
  await teacher.say('Good morning, Ben');
  await student.reads('Good morning, Ben');

  // A raised hand, and the floor with one click.
  await student.buttonLike('bar.hand-raise').click();
  await teacher.openPanel('bar.people');
  const hands = teacher.page.getByRole('region', { name: say('people.hands') });
  await hands.getByText('Ben').waitFor();
  await hands.getByRole('button', { name: say('people.give-floor') }).click();
  await student.buttonLike('bar.floor-back').waitFor();
  await teacher.page
    .getByRole('region', { name: say('people.floor') })
    .getByRole('button', { name: say('people.take-floor') })
    .click();
  await student.buttonLike('bar.hand-raise').waitFor();

  // Mute all: the student's button shows it.
  await student.buttonLike('bar.mic-off').waitFor();
  await teacher.button('people.mute-all').click();
  await student.buttonLike('bar.mic-on').waitFor();

  // Lock: the next one stays outside, sees why, and gets in once it is open.
  await teacher.button('people.lock').click();
  await teacher.button('people.unlock').waitFor();
  const late = await enter({ room, identity: 'cem', name: 'Cem' });
  await late.button('lobby.join').click({ timeout: 20_000 });
  await late.outcome('room-locked');
  await teacher.button('people.unlock').click();
  await teacher.button('people.lock').waitFor();
  await late.button('outcome.action.retry').click();
  await late.toolbar.waitFor({ timeout: 20_000 }).catch(async () => late.join());
  await late.sees('Ada');

  // Leave and come back.
  await late.button('leave.leave').click();
  await late.outcome('left');
  await late.button('outcome.action.rejoin').click();
  await late.toolbar.waitFor({ timeout: 20_000 }).catch(async () => late.join());
  await late.sees('Ada');

  // Remove: asked once, then out, and not back.
  await teacher.openPanel('bar.people');
  await teacher.page
    .getByRole('listitem')
    .filter({ hasText: 'Cem' })
    .getByRole('button', { name: say('person.menu', { name: 'Cem' }) })
    .click();
  await teacher.page.getByRole('menuitem', { name: say('person.remove') }).click();
  await teacher.page
    .getByRole('dialog')
    .getByRole('button', { name: say('remove.confirm'), exact: true })
    .click();
  await late.outcome('removed');
  await until('Cem is off the wall', async () => (await teacher.tile('Cem').count()) === 0);

  // The teacher ends the class for everybody.
  await teacher.button('leave.title').click();
  await teacher.page.getByRole('menuitem', { name: say('leave.end') }).click();
  await teacher.page
    .getByRole('dialog')
    .getByRole('button', { name: say('end.confirm'), exact: true })
    .click();
  await student.outcome('ended');
  await leaveAll();
});

test('doors that stay shut say why', { timeout: 90_000 }, async () => {
  const room = world.room('shut');
  const { server, browser } = world;
  const claims = { room, identity: 'eve', name: 'Eve', role: 'student' };
  const at = (token) => `${server.url}/room/${room}#token=${token}`;

  const expired = await Classroom.open(browser, at(server.forge({ ...claims, exp: 1_700_000_000 })));
  await expired.outcome('expired');
  const wrong = await Classroom.open(browser, at('nonsense'));
  await wrong.outcome('wrong-link');
  const missing = await Classroom.open(browser, `${server.url}/room/${room}`);
  await missing.outcome('wrong-link');

  // A token that looks right and is signed with another secret: the server refuses it.
  const { signToken } = await import('./lib/jwt.mjs');
  const forged = signToken('x'.repeat(32), { aud: 'lectern', exp: Math.floor(Date.now() / 1000) + 600, ...claims });
  const other = await Classroom.open(browser, at(forged));
  await other.button('lobby.join').click({ timeout: 20_000 });
  await other.outcome('wrong-link');

  const lab = await world.lab();
  await world.join(lab, { room, identity: 'teacher', role: 'teacher', preset: 'seminar', sources: [], media: false });
  await lab.call('teacher', 'settings', { maxParticipants: 1 });
  const full = await Classroom.open(browser, await server.link(claims));
  await full.button('lobby.join').click({ timeout: 20_000 });
  await full.outcome('room-full');
  for (const person of [expired, wrong, missing, other, full]) {
    assert.deepEqual(person.page.troubles, []);
    await person.close();
  }
});

test('keyboard alone, in Chinese, in the dark, on a phone', { timeout: 90_000 }, async () => {
  const room = world.room('phone');
  const link = await world.server.link({
    room,
    identity: 'li',
    name: '李雷',
    role: 'teacher',
    preset: 'seminar',
    title: '结绳',
  });
  const { newPage } = await import('./lib/chromium.mjs');
  const page = await newPage(world.browser, {
    viewport: { width: 390, height: 844 },
    locale: 'zh-CN',
    colorScheme: 'dark',
    hasTouch: true,
    isMobile: true,
  });
  await page.goto(link);
  await page.getByRole('heading', { name: '结绳' }).waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.lang), 'zh-CN');
  // Nothing wider than the screen.
  const overflow = () =>
    page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok((await overflow()) <= 0);
  const background = await page.evaluate(() =>
    getComputedStyle(document.body)
      .backgroundColor.match(/[\d.]+/g)
      .slice(0, 3)
      .map(Number),
  );
  assert.ok(Math.max(...background) < 0.4 * 255, `dark background: ${background}`);
  // Tab to the button that joins; Enter.
  const join = page.locator('button.join');
  await until('the join button has the focus', async () => {
    await page.keyboard.press('Tab');
    return join.evaluate((element) => element === document.activeElement);
  });
  await page.keyboard.press('Enter');
  await page.getByRole('toolbar').waitFor({ timeout: 15_000 });
  assert.ok((await overflow()) <= 0);
  // Every control has a name.
  const nameless = await page.evaluate(() =>
    [...document.querySelectorAll('button, input, select, textarea, a[href]')]
      .filter(
        (element) =>
          !(
            element.getAttribute('aria-label') ||
            element.textContent.trim() ||
            element.getAttribute('aria-labelledby') ||
            element.labels?.length ||
            element.title
          ),
      )
      .map((element) => element.outerHTML.slice(0, 120)),
  );
  assert.deepEqual(nameless, []);
  assert.deepEqual(page.troubles, []);
  await page.context().close();
});

test('the signalling is cut: the page says so, and says when it is back', { timeout: 60_000 }, async () => {
  const room = world.room('banner');
  const lab = await world.lab();
  await world.join(lab, { room, identity: 'ada', name: 'Ada', look: 0, role: 'teacher', preset: 'seminar' });
  const token = await world.server.token({ room, identity: 'ben', name: 'Ben' });
  const student = await Classroom.open(world.browser, `${world.front.url}/room/${room}#token=${token}`);
  await student.join();
  await student.sees('Ada');
  world.front.cut();
  const banner = student.page.getByText(say('connection.signalling'));
  await banner.first().waitFor({ timeout: 10_000 });
  await student.sees('Ada');
  world.front.restore();
  await banner.first().waitFor({ state: 'hidden', timeout: 30_000 });
  await student.say('back');
  await until(
    'the teacher reads it',
    async () => (await lab.report('ada')).state?.chat.some((entry) => entry.text === 'back'),
    { within: 30_000 },
  );
  await student.close();
});
