// Who did what: acts by the API, in the console and in classes stand in the audit, refused ones too, and nothing secret does.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { join as path } from 'node:path';
import { after, before, test } from 'node:test';
import { newPage } from './lib/chromium.mjs';
import { until } from './lib/until.mjs';
import { say } from './lib/words.mjs';
import { World } from './lib/world.mjs';
import { io } from 'socket.io-client';

let world;
const sockets = [];
before(async () => (world = await World.start()));
after(async () => {
  for (const socket of sockets) socket.disconnect();
  await world?.stop();
});

const api = (method, route, { key = world.server.apiKey, body, headers } = {}) =>
  fetch(`${world.server.url}/api${route}`, {
    method,
    headers: { ...(key && { authorization: `Bearer ${key}` }), ...headers },
    ...(body && { body: JSON.stringify(body) }),
  });

async function audit(query = '') {
  const response = await api('GET', `/audit?limit=1000${query}`);
  assert.equal(response.status, 200);
  return (await response.json()).entries;
}

/** The entries of a room, the first first, as far as the audit has them after an act of the API (which waits for all before it). */
async function told(room, count) {
  return until(`${count} acts in ${room}`, async () => {
    const entries = (await audit(`&object=${room}`)).reverse();
    return entries.length >= count && entries;
  });
}

async function join(room, identity, role) {
  const token = await world.server.token({ room, identity, role, preset: 'seminar' });
  const socket = io(world.server.url, {
    auth: { token },
    reconnection: false,
    forceNew: true,
    transports: ['websocket'],
  });
  sockets.push(socket);
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject));
  socket.request = (event, payload = {}) => socket.timeout(10_000).emitWithAck(event, payload);
  assert.ok((await socket.request('join', { version: 1 })).data);
  return Object.assign(socket, { token });
}

test('moderation in a class, allowed and refused, with who, from where, and to whom', { timeout: 60_000 }, async () => {
  const room = world.room('audited');
  const ada = await join(room, 'ada', 'teacher');
  const ben = await join(room, 'ben', 'student');
  assert.equal((await ben.request('remove', { participant: 'ada' })).error.code, 'forbidden');
  await ada.request('settings', { locked: true, title: 'Knots' });
  await ada.request('mute-all', { source: 'microphone' });
  await ada.request('role', { participant: 'ben', role: 'assistant' });
  await ada.request('record', { action: 'start' });
  await ada.request('record', { action: 'stop' });
  await ada.request('chat', { text: 'this is nobody’s business', nonce: 'n' });
  await ada.request('remove', { participant: 'ben' });
  await ada.request('end');
  const entries = await told(room, 10);
  const brief = entries.map(({ actor, identity, act, object, outcome, detail }) => [
    identity ?? actor,
    act,
    object,
    outcome,
    detail,
  ]);
  assert.deepEqual(brief, [
    ['api-key', 'token.create', undefined, 'ok', { identity: 'ada', role: 'teacher', ttlSeconds: 43_200 }],
    ['api-key', 'token.create', undefined, 'ok', { identity: 'ben', role: 'student', ttlSeconds: 43_200 }],
    ['ben', 'participant.remove', 'ada', 'forbidden', undefined],
    ['ada', 'room.settings', undefined, 'ok', { locked: true, title: 'Knots' }],
    ['ada', 'room.mute', undefined, 'ok', { source: 'microphone' }],
    ['ada', 'participant.role', 'ben', 'ok', { role: 'assistant' }],
    ['ada', 'recording.start', undefined, 'ok', undefined],
    ['ada', 'recording.stop', undefined, 'ok', undefined],
    ['ada', 'participant.remove', 'ben', 'ok', undefined],
    ['ada', 'room.end', undefined, 'ok', undefined],
  ]);
  assert.ok(entries.every(({ address }) => address === '127.0.0.1'));
});

test(
  'recordings: links and removal, by whom and with what outcome; also after kill -9',
  { timeout: 60_000 },
  async () => {
    const room = world.room('recorded');
    const ada = await join(room, 'ada', 'teacher');
    await ada.request('record', { action: 'start' });
    const recording = await until('it is there', async () => {
      const { recordings } = await (await api('GET', `/recordings?room=${room}`)).json();
      return recordings[0]?.id;
    });
    const { token: link } = await (await api('POST', `/recordings/${recording}/links`, { key: ada.token })).json();
    assert.equal((await api('DELETE', `/recordings/${recording}`, { key: link })).status, 403);
    assert.equal((await api('DELETE', `/recordings/${recording}`, { key: ada.token })).status, 409);
    await ada.request('record', { action: 'stop' });
    await ada.request('end');
    const gone = await until('it is finished', async () => {
      const response = await api('DELETE', `/recordings/${recording}`, { key: ada.token });
      return response.status === 204 && response;
    });
    assert.ok(gone);
    // It was written before it was answered.
    await world.server.kill();
    await world.server.up();
    const entries = (await audit(`&object=${recording}`)).reverse();
    const brief = entries.map(({ actor, identity, act, outcome }) => [identity ?? actor, act, outcome]);
    assert.deepEqual(brief.slice(0, 3), [
      ['ada', 'link.create', 'ok'],
      ['link', 'recording.delete', 'forbidden'],
      ['ada', 'recording.delete', 'conflict'],
    ]);
    assert.deepEqual(brief.at(-1), ['ada', 'recording.delete', 'ok']);
    assert.ok(entries.every((entry) => entry.room === room));
  },
);

test('wrong keys and unknown changes are written down; who has no key reads nothing', { timeout: 60_000 }, async () => {
  const [last] = await audit('');
  assert.equal((await api('GET', '/rooms', { key: 'a-wrong-key-that-somebody-tries' })).status, 401);
  assert.equal((await api('PUT', '/tokens')).status, 405);
  assert.equal((await api('POST', '/tokens', { key: '' })).status, 401);
  const brief = (await audit(`&after=${last.seq}`)).map(({ actor, act, outcome, detail }) => [
    actor,
    act,
    outcome,
    detail,
  ]);
  assert.deepEqual(brief, [
    ['stranger', 'sign-in', 'unauthenticated', undefined],
    ['stranger', 'other', 'method-not-allowed', { request: 'PUT /api/tokens' }],
    ['stranger', 'token.create', 'unauthenticated', undefined],
  ]);
  for (const key of ['', 'wrong', await world.server.token({ room: 'r', identity: 'ada', role: 'teacher' })])
    assert.equal((await api('GET', '/audit', { key })).status, 401);
  for (const query of ['?limit=0', '?limit=1001', '?after=x', '?colour=red'])
    assert.equal((await api('GET', `/audit${query}`)).status, 400, query);
});

test('in the console: signing in is an act, and all acts can be seen and filtered', { timeout: 60_000 }, async () => {
  const page = await newPage(world.browser);
  await page.goto(`${world.server.url}/console`);
  const enter = async (key) => {
    await page.locator('#key').fill(key);
    await page.getByRole('button', { name: say('console.enter') }).click();
  };
  await enter('wrong-key-of-somebody-who-guesses');
  await page.getByText(say('console.problem.key')).waitFor();
  await enter(world.server.apiKey);
  const list = page.getByRole('region', { name: say('console.audit') });
  await list.getByText(say('console.act.room.end')).first().waitFor();
  const rows = list.getByRole('listitem');
  assert.match(
    await rows.nth(0).innerText(),
    new RegExp(`${say('console.act.sign-in')}[^]*${say('console.actor.console')}`),
  );
  const refused = say('console.audit-refused', { code: say('console.refused.unauthenticated') });
  assert.ok((await rows.nth(1).innerText()).includes(refused), refused);
  await list.getByRole('combobox', { name: say('console.audit-kind') }).selectOption('participant');
  await until('only these are shown', async () => {
    const texts = await rows.allInnerTexts();
    const [removed, role] = [say('console.act.participant.remove'), say('console.act.participant.role')];
    return texts.length === 3 && texts.every((text) => text.includes(removed) || text.includes(role));
  });
  await list.getByRole('searchbox').fill('no such person');
  await list.getByText(say('replay.none-found')).waitFor();
  // A page that is loaded again has signed in before.
  await page.reload();
  await list.getByText(say('console.act.room.end')).first().waitFor();
  const signedIn = (await audit('&act=sign-in')).filter(({ actor }) => actor === 'console');
  assert.deepEqual(
    signedIn.map(({ outcome }) => outcome),
    ['ok'],
  );
  await page.context().close();
});

test('nothing secret is in the files of the audit', async () => {
  const folder = path(world.server.folder, 'data');
  const files = readdirSync(folder).filter((name) => name.startsWith('audit.db'));
  const bytes = Buffer.concat(files.map((name) => readFileSync(path(folder, name)))).toString('latin1');
  assert.ok(bytes.includes('participant.remove'));
  const secrets = [world.server.apiKey, world.server.secret, 'wrong-key', 'eyJ', 'business'];
  for (const secret of secrets) assert.ok(!bytes.includes(secret), secret);
});
