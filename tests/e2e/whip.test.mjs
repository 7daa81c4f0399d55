// Plain WebRTC publishers and players over HTTP: WHIP in, WHEP out, and both together with a class.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { hears, LOOKS, whose } from './lib/lab.mjs';
import { until } from './lib/until.mjs';
import { World } from './lib/world.mjs';

let world;
before(async () => (world = await World.start()));
after(() => world?.stop());

const ask = (lab, method, ...args) => lab.evaluate(`whip.${method}(...${JSON.stringify(args)})`);

test('publish by WHIP, watch by WHEP and in the class', { timeout: 90_000 }, async () => {
  const room = world.room('whip');
  const lab = await world.lab();
  await world.join(lab, { room, identity: 'ben', look: 1, preset: 'lecture', sources: [] });

  const teacher = await world.server.token({ room, identity: 'obs', name: 'OBS', role: 'teacher' });
  const published = await ask(lab, 'publish', 'obs', { path: `/whip/${room}`, token: teacher, ...LOOKS[0] });
  assert.equal(published.status, 201, published.body);
  assert.match(published.location, new RegExp(`^(https?://[^/]+)?/whip/${room}/[\\w-]{20,}$`));
  assert.match(published.type, /^application\/sdp/);
  assert.ok(published.etag);
  await until('WHIP connects', async () => (await ask(lab, 'report', 'obs')).state === 'connected');
  await lab.sees('ben', 'obs', 0);
  await lab.hearsTone('ben', 0);

  const viewer = await world.server.token({ room, identity: 'wall', name: 'Wall', role: 'observer' });
  const played = await ask(lab, 'play', 'wall', { path: `/whep/${room}`, token: viewer });
  assert.equal(played.status, 201, played.body);
  assert.match(played.location, new RegExp(`/whep/${room}/`));
  const seen = await until('WHEP shows the teacher', async () => {
    const { state, picture, sound } = await ask(lab, 'report', 'wall');
    return (
      state === 'connected' &&
      picture?.colour &&
      whose(picture.colour) === 0 &&
      sound &&
      hears(sound, LOOKS[0].frequency) &&
      picture
    );
  });
  await until(
    'and the picture moves',
    async () => (await ask(lab, 'report', 'wall')).picture.frames > seen.frames + 10,
  );

  assert.ok([200, 204].includes(await ask(lab, 'end', 'wall')));
  assert.ok([200, 204].includes(await ask(lab, 'end', 'obs')));
  await until('the class sees it go', async () => !('obs camera' in (await lab.report('ben')).pictures));
});

test('WHEP shows the shared screen first, then the teacher again', { timeout: 90_000 }, async () => {
  const room = world.room('stage');
  const lab = await world.lab();
  await world.join(lab, { room, identity: 'teacher', look: 0, role: 'teacher', preset: 'lecture' });
  const token = await world.server.token({ room, identity: 'wall', role: 'observer' });
  assert.equal((await ask(lab, 'play', 'wall', { path: `/whep/${room}`, token })).status, 201);
  const shows = (look) =>
    until(`the stage shows ${look}`, async () => {
      const { picture } = await ask(lab, 'report', 'wall');
      return picture?.colour && whose(picture.colour) === look;
    });
  await shows(0);
  await lab.must('publish', 'teacher', 'screen', { colour: LOOKS[3].colour });
  await shows(3);
  await lab.call('teacher', 'unpublish', 'screen');
  await shows(0);
});

test('what is refused', { timeout: 30_000 }, async () => {
  const { server } = world;
  const room = world.room('refused');
  const token = await server.token({ room, identity: 'obs', role: 'teacher' });
  const elsewhere = await server.token({ room: 'elsewhere', identity: 'obs', role: 'teacher' });
  const post = (headers, body = 'v=0\r\n') => fetch(`${server.url}/whip/${room}`, { method: 'POST', headers, body });
  const sdp = { 'content-type': 'application/sdp' };
  assert.equal((await post(sdp)).status, 401);
  assert.equal((await post({ ...sdp, authorization: 'Bearer nonsense' })).status, 401);
  assert.ok([401, 403].includes((await post({ ...sdp, authorization: `Bearer ${elsewhere}` })).status));
  assert.equal((await post({ 'content-type': 'text/plain', authorization: `Bearer ${token}` })).status, 415);
  assert.ok([400, 406, 422].includes((await post({ ...sdp, authorization: `Bearer ${token}` }, 'not sdp')).status));
  const missing = await fetch(`${server.url}/whip/${room}/no-such-session-here-000`, {
    method: 'DELETE',
    headers: { authorization: `Bearer ${token}` },
  });
  assert.equal(missing.status, 404);
});
