// HARDENING 32: script in a name, a title and chat is inert text; the pages' policy would stop it anyway.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Classroom } from './lib/classroom.mjs';
import { newPage } from './lib/chromium.mjs';
import { until } from './lib/until.mjs';
import { World } from './lib/world.mjs';

let world;
before(async () => (world = await World.start()));
after(() => world?.stop());

const SCRIPTS = [
  '<img src=x onerror="window.owned=1">',
  '<script>window.owned=1</script>',
  '"><svg onload=window.owned=1>',
  'javascript:window.owned=1',
  '{{constructor.constructor("window.owned=1")()}}',
];

test('script in names, title and chat is shown as text and does nothing', { timeout: 90_000 }, async () => {
  const room = world.room('content');
  const lab = await world.lab();
  await world.join(lab, { room, identity: 'mallory', name: SCRIPTS[0], look: 1, preset: 'seminar', title: SCRIPTS[1] });
  const teacher = await Classroom.open(
    world.browser,
    await world.server.link({ room, identity: 'ada', name: SCRIPTS[2], role: 'teacher' }),
  );
  await teacher.join();
  await teacher.tile(SCRIPTS[0]).waitFor();
  for (const [i, text] of SCRIPTS.slice(0, 4).entries()) {
    await lab.call('mallory', 'chat', text);
    await teacher.reads(text);
    assert.equal(await teacher.page.evaluate(() => window.owned), undefined, `chat ${i}`);
  }
  await teacher.openPanel('bar.people');
  await until(
    'the roster shows the name as text',
    async () => (await teacher.page.getByText(SCRIPTS[0], { exact: true }).count()) > 0,
  );
  assert.equal(await teacher.page.evaluate(() => window.owned), undefined);
  assert.equal(await teacher.page.locator('a[href^="javascript:"]').count(), 0);
  assert.equal(await teacher.page.locator('img[src="x"], svg[onload]').count(), 0);
  assert.deepEqual(teacher.page.troubles, []);
  await teacher.close();
});

test('strict headers on every page, and no page breaks its own policy', { timeout: 60_000 }, async () => {
  const { server, browser } = world;
  for (const path of ['/', '/room/algebra', '/console', '/desktop']) {
    const response = await fetch(`${server.url}${path}`);
    assert.equal(response.status, 200, path);
    const policy = response.headers.get('content-security-policy') ?? '';
    assert.match(policy, /default-src '(self|none)'/, path);
    assert.doesNotMatch(policy, /script-src[^;]*(unsafe-inline|unsafe-eval|\*)/, path);
    assert.match(policy, /(script-src|default-src)[^;]*'self'/, path);
    assert.match(policy, /frame-ancestors/, path);
    assert.match(policy, /object-src 'none'|default-src 'none'/, path);
    assert.match(policy, /base-uri '(none|self)'/, path);
    assert.equal(response.headers.get('x-content-type-options'), 'nosniff', path);
    assert.match(response.headers.get('referrer-policy') ?? '', /no-referrer|same-origin/, path);
    const page = await newPage(browser);
    await page.goto(`${server.url}${path}`, { waitUntil: 'networkidle' });
    assert.deepEqual(page.troubles, [], path);
    // The policy is in force: inline script does not run.
    await page.evaluate(() => {
      const script = document.createElement('script');
      script.textContent = 'window.owned = 1';
      document.head.append(script);
    });
    assert.equal(await page.evaluate(() => window.owned), undefined, path);
    await page.context().close();
  }
});

test(
  'a page that breaks off while it loads comes up all the same: once by itself, then with a button',
  { timeout: 60_000 },
  async () => {
    const { server, browser } = world;
    const page = await newPage(browser);
    const [alert, again] = [page.getByRole('alert'), page.getByRole('button', { name: 'Load again' })];
    // As when the network changes: the page itself is there, and what it loads is broken off.
    let broken = 0;
    await page.route('**/assets/*.js', (route) =>
      broken-- > 0 ? route.abort('internetdisconnected') : route.continue(),
    );
    const comesUp = () => page.locator('#app > *').first().waitFor();
    broken = 1;
    await page.goto(`${server.url}/check`);
    await comesUp();
    assert.ok(Number(await page.evaluate(() => sessionStorage.getItem('lectern.boot'))) > 0, 'it was loaded again');
    assert.equal(await again.count(), 0);
    // It does not reload for ever.
    broken = 1000;
    await page.reload();
    await alert.getByText('could not be loaded').waitFor();
    const loads = [];
    page.on('framenavigated', () => loads.push(page.url()));
    await page.waitForTimeout(1_500);
    assert.deepEqual(loads, []);
    broken = 0;
    await again.click();
    await comesUp();
    assert.deepEqual(page.troubles, []);
    // Nothing that fails later takes anybody out of a class.
    await page.waitForLoadState('load');
    await page.evaluate(
      () =>
        new Promise((resolve) => {
          const script = Object.assign(document.createElement('script'), { src: '/nothing.js', onerror: resolve });
          document.head.append(script);
        }),
    );
    assert.equal(await again.count(), 0);
    await page.context().close();
  },
);

test('what is not there is a plain 404, and methods that are not meant are refused', { timeout: 30_000 }, async () => {
  const { server } = world;
  for (const path of [
    '/nothing',
    '/../Cargo.toml',
    '/%2e%2e/%2e%2e/etc/passwd',
    '/assets/../../Cargo.toml',
    '/assets/nothing.js',
  ]) {
    const response = await fetch(server.url + path);
    assert.ok([400, 404].includes(response.status), `${path}: ${response.status}`);
    assert.doesNotMatch(await response.text(), /\[workspace\]|root:/);
  }
  assert.equal((await fetch(`${server.url}/api/tokens`)).status, 405);
  const unauthorised = await fetch(`${server.url}/api/tokens`, {
    method: 'POST',
    body: '{}',
    headers: { 'content-type': 'application/json' },
  });
  assert.equal(unauthorised.status, 401);
  const big = await fetch(`${server.url}/api/tokens`, {
    method: 'POST',
    headers: { authorization: `Bearer ${server.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ room: 'r', identity: 'x'.repeat(2 << 20), name: 'x', role: 'student' }),
  });
  assert.equal(big.status, 413);
});
