// docs/openapi.json is valid OpenAPI 3.1, and what the running server answers is what it says. That it has the routes of the router, and no other, a test
// in src/http/openapi.rs holds.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join as path } from 'node:path';
import { after, before, test } from 'node:test';
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { io } from 'socket.io-client';
import { jpeg } from './lib/jpeg.mjs';
import { Receiver, SECRET } from './lib/receiver.mjs';
import { Server, root } from './lib/server.mjs';
import { until } from './lib/until.mjs';

const document = JSON.parse(readFileSync(path(root, 'docs/openapi.json'), 'utf8'));
const ajv = new Ajv2020({ strict: false, allErrors: true });
addFormats.default(ajv);
ajv.addSchema(document, 'lectern');

const pointer = (...parts) => parts.map((part) => part.replaceAll('~', '~0').replaceAll('/', '~1')).join('/');
const matches = (where, value) => {
  const validate = ajv.compile({ $ref: `lectern#/${where}` });
  return validate(value) ? undefined : ajv.errorsText(validate.errors);
};

let server, receiver, ada, teacher;
/** Which answers were seen: `get /api/rooms 200`. */
const seen = new Set();

/** Where the document says what this answer is like. */
function described(template, method, status) {
  const response = document.paths[template]?.[method]?.responses?.[status];
  assert.ok(response, `${method} ${template} answered ${status}, which is not in the document`);
  const ref = response.$ref?.replace('#/', '').split('/');
  const where = ref ?? ['paths', template, method, 'responses', String(status)];
  return { where, response: ref ? document.components.responses[ref.at(-1)] : response };
}

/** Asks the server, and holds the answer against the document. */
async function ask(
  method,
  template,
  status,
  { params = {}, query = '', key = server.apiKey, body, type, headers } = {},
) {
  const route = template.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(params[name]));
  const response = await fetch(`${server.url}${route}${query}`, {
    method: method.toUpperCase(),
    headers: { ...(key && { authorization: `Bearer ${key}` }), ...(type && { 'content-type': type }), ...headers },
    body: body && typeof body !== 'string' ? JSON.stringify(body) : body,
  });
  const text = await response.text();
  assert.equal(response.status, status, `${method} ${route}: ${text}`);
  const { where, response: told } = described(template, method, status);
  const mime = response.headers.get('content-type');
  if (told.content && Object.keys(told.content).length > 0) {
    assert.ok(mime in told.content, `${method} ${template} ${status}: ${mime} is not in the document`);
  } else {
    assert.equal(text, '', `${method} ${template} ${status} has a body`);
  }
  for (const [name, header] of Object.entries(told.headers ?? {}))
    if (header.required !== false && name !== 'Link')
      assert.ok(response.headers.get(name), `${method} ${template} ${status}: no ${name}`);
  if (mime === 'application/json') {
    const wrong = matches(pointer(...where, 'content', mime, 'schema'), JSON.parse(text));
    assert.equal(wrong, undefined, `${method} ${template} ${status}: ${text}`);
  }
  seen.add(`${method} ${template} ${status}`);
  return { headers: response.headers, text, json: mime === 'application/json' ? JSON.parse(text) : undefined };
}

const OFFER = [
  'v=0',
  'o=- 1 1 IN IP4 127.0.0.1',
  's=-',
  't=0 0',
  'a=group:BUNDLE 0',
  'm=audio 9 UDP/TLS/RTP/SAVPF 111',
  'c=IN IP4 0.0.0.0',
  'a=ice-ufrag:abcd',
  'a=ice-pwd:abcdefghijklmnopqrstuvwx',
  `a=fingerprint:sha-256 ${Array.from({ length: 32 }, () => 'AB').join(':')}`,
  'a=setup:actpass',
  'a=mid:0',
  'a=DIRECTION',
  'a=rtcp-mux',
  'a=rtpmap:111 opus/48000/2',
  '',
].join('\r\n');
const offer = (direction) => ({ type: 'application/sdp', body: OFFER.replace('DIRECTION', direction) });

before(async () => {
  receiver = await Receiver.start();
  server = await Server.start({ args: ['--webhook-url', receiver.url, '--webhook-secret', SECRET] });
  ada = await server.token({ room: 'r', identity: 'ada', name: 'Ada', role: 'teacher', preset: 'seminar' });
  teacher = io(server.url, { auth: { token: ada }, reconnection: false, transports: ['websocket'] });
  await new Promise((resolve, reject) => teacher.once('connect', resolve).once('connect_error', reject));
  teacher.request = async (event, payload = {}) => {
    const answer = await teacher.timeout(10_000).emitWithAck(event, payload);
    assert.ok(!answer.error, JSON.stringify(answer));
    return answer.data;
  };
  await teacher.request('join', { version: 1 });
});
after(async () => {
  teacher?.disconnect();
  await server?.stop();
  await receiver?.down();
});

test('the document is valid OpenAPI 3.1, and nothing in it leads nowhere', async () => {
  const validator = new Validator();
  const result = await validator.validate(structuredClone(document));
  assert.ok(result.valid, JSON.stringify(result.errors, null, 1));
  assert.equal(validator.version, '3.1');
  const operations = Object.entries(document.paths).flatMap(([template, item]) =>
    Object.entries(item).map(([method, operation]) => ({ template, method, ...operation })),
  );
  const ids = operations.map(({ operationId }) => operationId);
  assert.equal(new Set(ids).size, ids.length, 'each operation has a name of its own');
  const tags = new Set(document.tags.map(({ name }) => name));
  for (const { template, method, parameters = [], tags: own, security, responses } of operations) {
    const where = `${method} ${template}`;
    const named = [...template.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
    const given = parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => name);
    assert.deepEqual(given, named, where);
    assert.ok(
      own.every((tag) => tags.has(tag)),
      where,
    );
    // A door that nobody has thought about is not a door that is open.
    assert.ok(Array.isArray(security), where);
    if (security.length > 0) assert.ok('401' in responses, where);
  }
  const refs = JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g);
  for (const [, ref] of refs) {
    const found = ref
      .replace('#/', '')
      .split('/')
      .reduce((at, part) => at?.[part], document);
    assert.ok(found, ref);
  }
  for (const name of Object.keys(document.components.schemas))
    ajv.compile({ $ref: `lectern#/components/schemas/${name}` });
});

test('what does not fit is seen: the schemas can fail', () => {
  const token = { token: 't', url: 'https://x/room/r#token=t', expiresAt: '2026-11-21T09:30:00.000Z' };
  const wrong = (change) => matches('components/schemas/MadeToken', { ...token, ...change });
  assert.equal(wrong({}), undefined);
  assert.match(wrong({ expiresAt: '2026-11-21 09:30' }), /expiresAt/);
  assert.match(wrong({ more: 1 }), /additional/);
  assert.match(wrong({ token: undefined }), /token/);
});

test('health, rooms, tokens', async () => {
  await ask('get', '/healthz', 200, { key: '' });
  await ask('get', '/readyz', 200, { key: '' });
  const { text } = await ask('get', '/metrics', 200, { key: '' });
  assert.match(text, /^lectern_rooms 1$/m);
  const served = await ask('get', '/api/openapi.json', 200, { key: '' });
  assert.deepEqual(served.json, document);
  const { json } = await ask('get', '/api/rooms', 200);
  assert.equal(json.rooms[0].participants[0].identity, 'ada');
  await ask('get', '/api/node', 200);
  for (const route of ['rooms', 'node']) await ask('get', `/api/${route}`, 401, { key: 'wrong' });
  const request = {
    room: 'r',
    identity: 'ben',
    name: 'Ben',
    role: 'student',
    preset: 'lecture',
    title: 'Knots',
    ttlSeconds: 60,
  };
  assert.equal(matches('components/schemas/TokenRequest', request), undefined);
  await ask('post', '/api/tokens', 201, { body: request });
  await ask('post', '/api/tokens', 400, { body: { ...request, colour: 'red' } });
  assert.match(matches('components/schemas/TokenRequest', { ...request, colour: 'red' }), /additional/);
  await ask('post', '/api/tokens', 401, { key: '', body: request });
  await ask('post', '/api/tokens', 413, { body: { ...request, title: 'x'.repeat(1_100_000) } });
  await ask('post', '/api/sign-in', 204);
  await ask('post', '/api/sign-in', 401, { key: 'wrong' });
});

test('looking into a room', async () => {
  const token = await server.token({ room: 'r', identity: 'cam', role: 'student' });
  const socket = io(server.url, { auth: { token }, reconnection: false, forceNew: true, transports: ['websocket'] });
  await new Promise((resolve, reject) => socket.once('connect', resolve).once('connect_error', reject));
  const request = async (event, payload) => (await socket.timeout(10_000).emitWithAck(event, payload)).data;
  const video = OFFER.replace('m=audio', 'm=video')
    .replace('opus/48000/2', 'VP8/90000')
    .replace('DIRECTION', 'sendonly');
  assert.ok(await request('join', { version: 1, offer: video, sources: { camera: '0' } }));
  assert.ok(await request('publish', { source: 'camera' }));
  const list = '/api/rooms/{room}/thumbnails';
  const params = { room: 'r' };
  await ask('get', list, 401, { params, key: '' });
  for (const key of [token, ada]) await ask('get', list, 403, { params, key });
  await ask('get', list, 404, { params: { room: 'other' } });
  assert.deepEqual((await ask('get', list, 200, { params })).json.thumbnails, []);
  assert.ok(await request('thumbnail', { source: 'camera', jpeg: jpeg(64, 48).toString('base64') }));
  const [{ id }] = (await ask('get', list, 200, { params })).json.thumbnails;
  const { headers } = await ask('get', `${list}/{id}`, 200, { params: { ...params, id } });
  assert.equal(headers.get('content-length'), String(jpeg(64, 48).length));
  await ask('get', `${list}/{id}`, 404, { params: { ...params, id: '99' } });
  await ask('get', `${list}/{id}`, 403, { params: { ...params, id }, key: ada });
  await request('leave', {});
});

test('the test before class', async () => {
  const { json } = await ask('post', '/api/check', 201, { key: '' });
  const params = { id: json.check };
  await ask('post', '/api/check/{id}', 200, { params, key: '', ...offer('sendonly') });
  await ask('post', '/api/check/{id}', 415, { params, key: '', body: 'x', type: 'text/plain' });
  await ask('post', '/api/check/{id}', 422, { params, key: '', body: 'x', type: 'application/sdp' });
  await ask('delete', '/api/check/{id}', 204, { params, key: '' });
  await ask('delete', '/api/check/{id}', 404, { params, key: '' });
});

test('WHIP and WHEP', async () => {
  for (const [kind, direction] of [
    ['whip', 'sendonly'],
    ['whep', 'recvonly'],
  ]) {
    const room = { room: 'r' };
    const key = await server.token({ room: 'r', identity: kind, role: kind === 'whip' ? 'teacher' : 'observer' });
    const session = `/${kind}/{room}/{id}`;
    await ask('options', `/${kind}/{room}`, 204, { params: room, key: '' });
    await ask('post', `/${kind}/{room}`, 401, { params: room, key: 'wrong', ...offer(direction) });
    await ask('post', `/${kind}/{room}`, 415, { params: room, key, body: 'x', type: 'text/plain' });
    await ask('post', `/${kind}/{room}`, 422, { params: room, key, body: 'v=0', type: 'application/sdp' });
    const made = await ask('post', `/${kind}/{room}`, 201, { params: room, key, ...offer(direction) });
    const params = { ...room, id: made.headers.get('location').split('/').at(-1) };
    const trickle = {
      params,
      key,
      type: 'application/trickle-ice-sdpfrag',
      body: 'a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=end-of-candidates\r\n',
    };
    await ask('options', session, 204, { params, key: '' });
    await ask('patch', session, 428, trickle);
    await ask('patch', session, 412, { ...trickle, headers: { 'if-match': '"other"' } });
    await ask('patch', session, 204, { ...trickle, headers: { 'if-match': made.headers.get('etag') } });
    await ask('delete', session, 401, { params, key: 'wrong' });
    await ask('delete', session, 200, { params, key });
    await ask('delete', session, 404, { params, key });
  }
});

test('recordings, events and the audit', { timeout: 60_000 }, async () => {
  await teacher.request('record', { action: 'start' });
  const list = '/api/recordings';
  const id = await until('it is listed', async () => (await ask('get', list, 200)).json.recordings[0]?.id);
  const [params, one] = [{ id }, '/api/recordings/{id}'];
  await ask('delete', one, 409, { params });
  await teacher.request('record', { action: 'pause' });
  await teacher.request('record', { action: 'resume' });
  await teacher.request('record', { action: 'stop' });
  await until('it is ready', () => receiver.events.find(({ type }) => type === 'recording.ready'));
  await ask('get', list, 200, { query: '?q=ada&limit=5', key: ada });
  await ask('get', list, 400, { query: '?limit=0' });
  await ask('get', list, 401, { key: '' });
  await ask('get', list, 403, { query: '?room=other', key: ada });
  const { json: manifest } = await ask('get', one, 200, { params });
  await ask('get', one, 404, { params: { id: 'no-such' } });
  await ask('get', one, 401, { params, key: '' });
  const file = { params: { id, name: manifest.timeline } };
  await ask('get', `${one}/files/{name}`, 200, file);
  await ask('get', `${one}/files/{name}`, 206, { ...file, headers: { range: 'bytes=0-3' } });
  await ask('get', `${one}/files/{name}`, 416, { ...file, headers: { range: 'bytes=99999999-' } });
  await ask('get', `${one}/files/{name}`, 404, { params: { id, name: 'x' } });
  const { json: link } = await ask('post', `${one}/links`, 201, { params, body: { ttlSeconds: 60, fromMs: 5 } });
  await ask('post', `${one}/links`, 400, { params, body: { ttlSeconds: 0 } });
  await ask('post', `${one}/links`, 403, { params, key: link.token });
  await ask('get', one, 200, { params, key: '', query: `?token=${link.token}` });
  await ask('delete', one, 403, { params, key: link.token });
  const { json: kept } = await ask('patch', one, 200, { params, body: { keepUntil: 'forever' } });
  assert.equal(kept.keepUntil, 'forever');
  await ask('patch', one, 400, { params, body: { keepUntil: 'tomorrow' } });
  await ask('patch', one, 403, { params, key: ada, body: { keepUntil: null } });
  await exports(params);
  await ask('delete', one, 204, { params });
  await teacher.request('settings', { locked: true });
  await teacher.request('end');
  await until('all is told', () => receiver.events.at(-1)?.type === 'room.ended');
  for (const event of receiver.events)
    assert.equal(matches('components/schemas/Event', event), undefined, JSON.stringify(event));
  const { json: told } = await ask('get', '/api/events', 200, { query: '?after=0&limit=1000' });
  assert.ok(new Set(told.events.map(({ type }) => type)).size >= 9);
  await ask('get', '/api/events', 400, { query: '?limit=0' });
  await ask('get', '/api/events', 401, { key: '' });
  const { json: audit } = await ask('get', '/api/audit', 200, { query: '?limit=1000&q=r' });
  assert.ok(new Set(audit.entries.map(({ act }) => act)).size >= 5);
  await ask('get', '/api/audit', 400, { query: '?limit=0' });
  await ask('get', '/api/audit', 401, { key: '' });
});

/** Exports of a recording in which nobody has been seen or heard. */
async function exports(params) {
  const [all, job] = ['/api/recordings/{id}/exports', '/api/recordings/{id}/exports/{kind}'];
  const of = (kind) => ({ params: { ...params, kind } });
  await ask('post', all, 200, { params, body: { kind: 'attendance' } });
  await ask('post', all, 400, { params, body: { kind: 'poster' } });
  await ask('post', all, 401, { params, key: '', body: { kind: 'zip' } });
  await ask('post', all, 422, { params, body: { kind: 'screen' } });
  await ask('post', all, 202, { params, body: { kind: 'composed' } });
  await until('the film is made', async () => (await ask('get', job, 200, of('composed'))).json.state === 'done');
  await ask('post', all, 200, { params, body: { kind: 'composed' } });
  const { json } = await ask('get', all, 200, { params });
  assert.deepEqual(
    json.exports.map(({ kind }) => kind),
    ['composed'],
  );
  for (const kind of ['composed', 'attendance', 'zip']) await ask('get', `${job}/file`, 200, of(kind));
  await ask('get', `${job}/file`, 206, { ...of('composed'), headers: { range: 'bytes=0-3' } });
  await ask('get', `${job}/file`, 404, of('copy'));
  await ask('post', `${job}/links`, 201, of('composed'));
  await ask('delete', job, 204, of('composed'));
  await ask('get', job, 404, of('composed'));
}

test('every operation was answered as it should be', () => {
  const missing = Object.entries(document.paths).flatMap(([template, item]) =>
    Object.entries(item)
      .filter(
        ([method, { responses }]) =>
          !Object.keys(responses).some((code) => code < '3' && seen.has(`${method} ${template} ${code}`)),
      )
      .map(([method]) => `${method} ${template}`),
  );
  assert.deepEqual(missing, []);
});
