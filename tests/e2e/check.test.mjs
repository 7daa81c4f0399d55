// The page of the test before class, with a real browser: all good, ways that are closed, devices that are missing, Chinese.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { certificate } from './lib/certificate.mjs';
import { launchChromium, newPage } from './lib/chromium.mjs';
import { Server } from './lib/server.mjs';
import { until } from './lib/until.mjs';

/** Set to keep pictures of the page, for people to look at. */
const SHOTS = process.env.LECTERN_E2E_SHOTS;

// Of this file alone: one of its servers has a certificate of the test's own.
process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
process.removeAllListeners('warning');

let server;
let browser;
before(async () => {
  server = await Server.start();
  browser = await launchChromium();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const shot = async (page, name) => {
  if (!SHOTS) return;
  mkdirSync(SHOTS, { recursive: true });
  await page.screenshot({ path: `${SHOTS}/check-${name}.png`, fullPage: true });
};

/** Opens the page, runs the test, and gives what it says. */
async function run(at, { name, path = '/check', prepare, browser: other, ...options } = {}) {
  const page = await newPage(other ?? browser, options);
  await prepare?.(page);
  await page.goto(`${at.url}${path}`);
  const start = page.getByRole('button', { name: /Start the test|开始测试/ });
  if (name) await shot(page, `${name}-before`);
  // By keyboard, as somebody without a mouse does.
  await start.focus();
  await page.keyboard.press('Enter');
  await page.locator('.summary progress').waitFor();
  if (name) {
    await page.locator('#step-quality.running').waitFor({ timeout: 60_000 });
    await shot(page, `${name}-running`);
  }
  await page.getByRole('button', { name: /Copy report|复制报告/ }).waitFor({ timeout: 75_000 });
  if (name) await shot(page, name);
  const states = await page
    .locator('li.row')
    .evaluateAll((rows) =>
      Object.fromEntries(
        rows.map((row) => [
          row.id.replace('step-', ''),
          row.className.split(' ').find((word) => /good|warning|failed|skipped/.test(word)),
        ]),
      ),
    );
  assert.deepEqual(page.troubles, []);
  return { page, states, row: (id) => page.locator(`#step-${id}`).innerText() };
}

const LOCAL = {
  page: 'good',
  microphone: 'good',
  camera: 'good',
  signalling: 'good',
  udp: 'good',
  tcp: 'good',
  'relay-udp': 'good',
  'relay-tcp': 'good',
};

test('a good device on a good network is ready', { timeout: 120_000 }, async () => {
  const { page, states, row } = await run(server, { name: 'good' });
  const { quality, ...rest } = states;
  assert.deepEqual(rest, LOCAL);
  // A machine that runs all tests at once may be slow; it is measured all the same.
  assert.ok(['good', 'warning'].includes(quality), await row('quality'));
  assert.match(await row('quality'), /up · there and back in \d+ ms · \d+% lost/);
  assert.match(await row('udp'), /There and back in \d+ ms/);
  assert.match(await page.locator('h1').innerText(), /ready for class|connection is weak/);
  assert.equal(await page.evaluate(() => document.activeElement.id), 'check-title', 'the result is read out');
  assert.equal(await page.getByRole('link', { name: 'To the class' }).count(), 0);

  // The report, as pasted elsewhere.
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await page.getByRole('button', { name: 'Copy report' }).click();
  await page.getByRole('button', { name: 'Copied' }).waitFor();
  const report = await page.evaluate(() => navigator.clipboard.readText());
  assert.match(report, /^Lectern: test before class\n/);
  assert.match(report, /\[good\] Sound and picture, direct \(UDP\): Open/);
  assert.match(report, /HeadlessChrome|Chrome\//);

  // Nothing stays behind.
  const metrics = await server.metrics();
  assert.equal(metrics.get('lectern_checks'), 0);
  assert.equal(metrics.get('lectern_rooms'), 0);
  assert.ok(metrics.get('lectern_checks_total{result="ok"}') >= 1);
  await until('no peer is left', async () => {
    const now = await server.metrics();
    return [...now].filter(([key]) => key.startsWith('lectern_peers{')).every(([, value]) => value === 0);
  });
  await until('no relay is left', async () => (await server.metrics()).get('lectern_turn_allocations') === 0, {
    within: 15_000,
  });
  await page.context().close();
});

test(
  'a public address that leads nowhere: direct ways fail with their fix, the relay gets through',
  { timeout: 120_000 },
  async () => {
    // TEST-NET-3 (RFC 5737) stands for the public side of a NAT that lets nothing but the relay's port through.
    const hidden = await Server.start({ publicIp: ['203.0.113.7'], args: ['--turn-host', '127.0.0.1'] });
    try {
      const { page, states, row } = await run(hidden, { name: 'blocked' });
      assert.equal(states.udp, 'failed');
      assert.equal(states.tcp, 'failed');
      assert.equal(states['relay-udp'], 'good');
      assert.equal(states['relay-tcp'], 'good');
      const text = await row('udp');
      assert.match(text, /No answer over UDP 203\.0\.113\.7:\d+/);
      assert.match(text, /Ask whoever runs the network to let this out: UDP 203\.0\.113\.7:\d+.*public_ip/);
      assert.match(await page.locator('.summary').innerText(), /by a detour|connection is weak/);
      assert.ok(['good', 'warning'].includes(states.quality), 'measured over the relay');
      await page.context().close();
    } finally {
      await hidden.stop();
    }
  },
);

test('a network that closes UDP and nothing else', { timeout: 120_000 }, async () => {
  // As if datagrams went nowhere: to the server's port there is none who listens.
  const strip = (page) =>
    page.addInitScript(() => {
      const { setRemoteDescription } = RTCPeerConnection.prototype;
      RTCPeerConnection.prototype.setRemoteDescription = function ({ type, sdp }) {
        const relayed = this.getConfiguration().iceTransportPolicy === 'relay';
        const closed = sdp.replace(/^(a=candidate:\S+ \d+ udp \d+ \S+) \d+ /gim, '$1 9 ');
        return setRemoteDescription.call(this, { type, sdp: relayed ? sdp : closed });
      };
    });
  const { page, states } = await run(server, { prepare: strip });
  assert.equal(states.udp, 'failed');
  assert.equal(states.tcp, 'good');
  assert.equal(states['relay-udp'], 'good');
  assert.match(await page.locator('.summary').innerText(), /by a detour[\s\S]*UDP 127\.0\.0\.1:\d+|connection is weak/);
  await page.context().close();
});

test('one port with TLS: the relay over TLS is tested too', { timeout: 120_000 }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'lectern-check-'));
  const { cert, key, known } = certificate(folder);
  const args = ['--one-port', '--tls-cert', cert, '--tls-key', key, '--turn-host', 'localhost'];
  const site = await Server.start({ tls: true, args });
  const trusting = await launchChromium({ args: [known] });
  try {
    const { states } = await run(site, { browser: trusting });
    const { quality, ...rest } = states;
    const { 'relay-udp': _, ...others } = LOCAL;
    assert.deepEqual(rest, { ...others, 'relay-tls': 'good' }, 'UDP reaches media itself there');
    assert.ok(['good', 'warning'].includes(quality));
  } finally {
    await trusting.close();
    await site.stop();
    rmSync(folder, { recursive: true, force: true });
  }
});

test('no permission for camera and microphone, and no WebSocket', { timeout: 120_000 }, async () => {
  const deny = async (page) => {
    await page.addInitScript(() => {
      MediaDevices.prototype.getUserMedia = () => Promise.reject(new DOMException('denied', 'NotAllowedError'));
    });
    await page.routeWebSocket(/socket\.io/, (socket) => socket.close());
  };
  const { page, states, row } = await run(server, {
    name: 'denied',
    prepare: deny,
    colorScheme: 'dark',
    viewport: { width: 390, height: 844 },
  });
  assert.equal(states.microphone, 'failed');
  assert.equal(states.camera, 'failed');
  assert.match(await row('camera'), /The browser blocks the camera[\s\S]*icon at the left of the address/);
  assert.equal(states.signalling, 'failed');
  assert.match(await row('signalling'), /no WebSocket[\s\S]*proxy/);
  assert.match(await page.locator('h1').innerText(), /does not reach the class/);
  await page.context().close();
});

test('in Chinese, from a class and back', { timeout: 120_000 }, async () => {
  const link = new URL(await server.link({ room: 'algebra', identity: 'ada', role: 'teacher' }));
  const lobby = await newPage(browser, { locale: 'zh-CN', viewport: { width: 390, height: 844 } });
  await lobby.goto(link.href);
  const there = lobby.getByRole('link', { name: '测试麦克风、摄像头和网络' });
  assert.equal(await there.getAttribute('href'), `/check${link.hash}`);
  await shot(lobby, 'lobby-zh');
  await lobby.context().close();

  const { page } = await run(server, {
    name: 'zh',
    path: `/check${link.hash}`,
    locale: 'zh-CN',
    viewport: { width: 390, height: 844 },
  });
  assert.match(await page.locator('h1').innerText(), /可以上课了|连接较弱/);
  const back = page.getByRole('link', { name: '进入课堂' });
  assert.equal(await back.getAttribute('href'), `${link.pathname}${link.hash}`);
  assert.equal(await page.locator('html').getAttribute('lang'), 'zh-CN');
  assert.doesNotMatch(await page.locator('main').innerText(), /check\.|Good|Open\./);
  await page.context().close();
});

test(
  'where it is switched off, the page says so, and devices are tested all the same',
  { timeout: 60_000 },
  async () => {
    const off = await Server.start({ args: ['--check=false'] });
    try {
      const { page, states, row } = await run(off);
      assert.equal(states.microphone, 'good');
      assert.equal(states.signalling, 'good');
      assert.equal(states.udp, 'skipped');
      assert.match(await row('udp'), /does not allow it[\s\S]*set check to true/);
      assert.match(await page.locator('h1').innerText(), /was not tested/);
      await page.context().close();
    } finally {
      await off.stop();
    }
  },
);
