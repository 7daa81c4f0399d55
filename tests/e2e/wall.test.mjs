// The console looks into a live room: small pictures come while it does, the class sees that it does, and nobody else gets any.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { io } from 'socket.io-client';
import { newPage } from './lib/chromium.mjs';
import { Classroom } from './lib/classroom.mjs';
import { jpeg } from './lib/jpeg.mjs';
import { Server } from './lib/server.mjs';
import { until } from './lib/until.mjs';
import { say } from './lib/words.mjs';
import { World } from './lib/world.mjs';

let world;
const sockets = [];
before(async () => (world = await World.start()));
after(async () => {
  for (const socket of sockets) socket.disconnect();
  await world?.stop();
});

const get = (route, key = world.server.apiKey, server = world.server) =>
  fetch(`${server.url}/api${route}`, { headers: { ...(key && { authorization: `Bearer ${key}` }) } });
const look = async (room) => (await (await get(`/rooms/${room}/thumbnails`)).json()).thumbnails;

const VIDEO = [
  ...['v=0', 'o=- 1 1 IN IP4 127.0.0.1', 's=-', 't=0 0', 'a=group:BUNDLE 0 1', ''],
  ...[0, 1].flatMap((mid) => [
    ...['m=video 9 UDP/TLS/RTP/SAVPF 96', 'c=IN IP4 0.0.0.0', 'a=ice-ufrag:abcd', 'a=ice-pwd:abcdefghijklmnopqrstuvwx'],
    `a=fingerprint:sha-256 ${Array.from({ length: 32 }, () => 'AB').join(':')}`,
    ...['a=setup:actpass', `a=mid:${mid}`, 'a=sendonly', 'a=rtcp-mux', 'a=rtpmap:96 VP8/90000', ''],
  ]),
]
  .filter((line) => line)
  .join('\r\n');

/** A client that is no page: it says what it likes. */
async function join(room, identity, role = 'student') {
  const token = await world.server.token({ room, identity, role, preset: 'seminar' });
  const socket = io(world.server.url, {
    auth: { token },
    reconnection: false,
    forceNew: true,
    transports: ['websocket'],
  });
  sockets.push(socket);
  socket.told = [];
  socket.on('thumbnails', ({ wanted }) => socket.told.push(wanted));
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject));
  socket.request = (event, payload = {}) => socket.timeout(10_000).emitWithAck(event, payload);
  const sources = { camera: '0', screen: '1' };
  const joined = await socket.request('join', { version: 1, offer: `${VIDEO}\r\n`, sources });
  assert.ok(joined.data, JSON.stringify(joined));
  assert.ok((await socket.request('publish', { source: 'camera' })).data);
  return Object.assign(socket, { token });
}

/** What is in a picture of the page: how bright it is on average, and how much that varies. */
const pixels = (image) =>
  image.evaluate((element) => {
    const canvas = document.createElement('canvas');
    Object.assign(canvas, { width: element.naturalWidth, height: element.naturalHeight });
    const context = canvas.getContext('2d');
    context.drawImage(element, 0, 0);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    const lights = Array.from(
      { length: data.length / 4 },
      (_, at) => data[at * 4] + data[at * 4 + 1] + data[at * 4 + 2],
    );
    const mean = lights.reduce((sum, light) => sum + light, 0) / lights.length;
    const spread = Math.sqrt(lights.reduce((sum, light) => sum + (light - mean) ** 2, 0) / lights.length);
    return { width: canvas.width, height: canvas.height, mean: mean / 3, spread: spread / 3 };
  });

test('in the console the cameras of a class are seen, and the class sees that', { timeout: 120_000 }, async () => {
  const room = world.room('wall');
  const enter = async (claims) => {
    const person = await Classroom.open(world.browser, await world.server.link({ room, ...claims }));
    await person.join();
    return person;
  };
  const ada = await enter({ identity: 'ada', name: 'Ada', role: 'teacher', preset: 'seminar', title: 'Knots' });
  const ben = await enter({ identity: 'ben', name: 'Ben' });
  const signs = [ada, ben].map((person) => person.page.getByText(say('watched.badge')));
  for (const sign of signs) assert.equal(await sign.count(), 0, 'nobody looks yet');

  const page = await newPage(world.browser);
  await page.goto(`${world.server.url}/console#key=${world.server.apiKey}`);
  await page.getByRole('button', { name: say('console.look-at', { title: 'Knots' }) }).click();
  const wall = page.getByRole('region', { name: say('console.wall', { title: 'Knots' }) });
  const tile = (name) => wall.getByRole('listitem').filter({ hasText: name });
  for (const name of ['Ada', 'Ben']) {
    const image = tile(name).locator('img');
    await image.waitFor({ timeout: 20_000 });
    const seen = await pixels(image);
    assert.ok(seen.width <= 256 && seen.height <= 256 && seen.width >= 160, JSON.stringify(seen));
    assert.ok(seen.mean > 20 && seen.spread > 4, `a picture of something: ${JSON.stringify(seen)}`);
  }
  for (const sign of signs) await sign.waitFor();
  const source = () => tile('Ben').locator('img').getAttribute('src');
  const first = await source();
  await until('another picture comes', async () => (await source()) !== first, { within: 20_000 });

  // What is switched off goes at once, and comes back.
  await ben.button('bar.camera-off').click();
  await tile('Ben').getByText(say('console.wall-no-camera')).waitFor();
  await until('the server has none', async () => (await look(room)).every(({ participant }) => participant !== 'ben'));
  await ben.button('bar.camera-on').click();
  await tile('Ben').locator('img').waitFor({ timeout: 20_000 });

  // One look, however often it was asked: the console's, and that of this test beside it.
  const entries = async () => (await (await get(`/audit?act=room.look&object=${room}`)).json()).entries;
  assert.deepEqual((await entries()).map(({ actor, outcome }) => [actor, outcome]).sort(), [
    ['api-key', 'ok'],
    ['console', 'ok'],
  ]);

  // Nobody looks any more: the sign goes, and so do the pictures.
  await page.getByRole('button', { name: say('console.look-stop') }).click();
  for (const sign of signs) await sign.waitFor({ state: 'detached', timeout: 25_000 });
  assert.deepEqual(await look(room), []);
  const list = page.getByRole('region', { name: say('console.audit') });
  await list.getByRole('button', { name: say('console.audit-reload') }).click();
  await list.getByText(say('console.act.room.look')).first().waitFor();
  const troubles = [ada, ben, { page }].flatMap((person) => person.page.troubles);
  for (const person of [ada, ben]) await person.close();
  await page.context().close();
  assert.deepEqual(troubles, []);
});

test('nobody without the key gets any, and that somebody tried is known', { timeout: 60_000 }, async () => {
  const room = world.room('closed');
  const ben = await join(room, 'ben');
  const ada = await join(room, 'ada', 'teacher');
  await look(room);
  const picture = jpeg(64, 48).toString('base64');
  assert.ok((await ben.request('thumbnail', { source: 'camera', jpeg: picture })).data);
  const [{ id }] = await look(room);
  for (const route of [`/rooms/${room}/thumbnails`, `/rooms/${room}/thumbnails/${id}`]) {
    for (const [key, status] of [
      [ben.token, 403],
      [ada.token, 403],
      ['', 401],
      ['a-wrong-key-of-somebody', 401],
      [world.server.apiKey, 200],
    ])
      assert.equal((await get(route, key)).status, status, `${route} ${status}`);
    assert.notEqual((await get(`${route}?token=${world.server.apiKey}`, '')).status, 200, 'a key stands in no address');
  }
  const { headers } = await get(`/rooms/${room}/thumbnails/${id}`);
  const told = ['content-type', 'x-content-type-options', 'cache-control'].map((name) => headers.get(name));
  assert.deepEqual(told, ['image/jpeg', 'nosniff', 'no-store']);
  const { entries } = await (await get(`/audit?act=room.look&object=${room}`)).json();
  const refused = entries.filter(({ outcome }) => outcome === 'forbidden').map(({ identity }) => identity);
  assert.deepEqual([...new Set(refused)].sort(), ['ada', 'ben']);
  assert.equal((await get('/rooms/no-such-room/thumbnails')).status, 404);
});

test(
  'what is no small picture of something that is sent is refused, and is not kept',
  { timeout: 60_000 },
  async () => {
    const room = world.room('picky');
    const ben = await join(room, 'ben');
    const send = async (bytes, source = 'camera') =>
      (await ben.request('thumbnail', { source, jpeg: bytes.toString('base64') })).error?.code ?? 'ok';
    assert.equal(await send(jpeg(64, 48)), 'conflict', 'nobody looks');
    await look(room);
    await until('it is told', () => ben.told.at(-1) === true);
    assert.equal(await send(jpeg(64, 48), 'screen'), 'not-found');
    assert.equal(await send(Buffer.from('<html><script>alert(1)</script></html>')), 'bad-request');
    assert.equal(await send(jpeg(64, 48, 13_000)), 'too-large');
    assert.equal(await send(jpeg(640, 360)), 'too-large');
    assert.deepEqual(await look(room), []);
    assert.equal(await send(jpeg(64, 48)), 'ok');
    assert.equal((await look(room)).length, 1);
    assert.ok((await ben.request('mute', { source: 'camera', muted: true })).data);
    assert.deepEqual(await look(room), [], 'muted');
    assert.equal(await send(jpeg(64, 48)), 'conflict', 'muted');
    const flood = await Promise.all(Array.from({ length: 30 }, () => send(jpeg(64, 48))));
    assert.ok(
      flood.every((code) => code === 'conflict'),
      flood.join(),
    );
    assert.ok((await ben.request('mute', { source: 'camera', muted: false })).data);
    const codes = new Set(await Promise.all(Array.from({ length: 20 }, () => send(jpeg(64, 48)))));
    assert.ok(codes.has('rate-limited'), [...codes].join());
  },
);

test('switched off, there is nothing to ask and nothing to press', { timeout: 60_000 }, async () => {
  const server = await Server.start({ args: ['--thumbnails=false'] });
  try {
    const person = await Classroom.open(
      world.browser,
      await server.link({
        room: 'off',
        identity: 'ada',
        name: 'Ada',
        role: 'teacher',
        preset: 'seminar',
        title: 'Off',
      }),
    );
    await person.join();
    assert.equal((await get('/rooms/off/thumbnails', server.apiKey, server)).status, 404);
    const page = await newPage(world.browser);
    await page.goto(`${server.url}/console#key=${server.apiKey}`);
    await page.getByRole('button', { name: 'Off' }).first().waitFor();
    assert.equal(await page.getByRole('button', { name: say('console.look-at', { title: 'Off' }) }).count(), 0);
    await page.context().close();
    await person.close();
  } finally {
    await server.stop();
  }
});
