// Screenshots of the pages: `node src/preview/shots.mjs <origin of npm run dev> <folder> [--zh] [--dark|--light] [--phone|--desktop] [name…]`. With
// `--zh` and so on all of them are so, whatever the list below says.
/* global fetch, navigator, DOMException, localStorage -- all but the first inside of the page */
import { chromium } from 'playwright-core';

import { answer, makeRecording } from './recording.mjs';

const [origin, folder, ...rest] = process.argv.slice(2);
const only = rest.filter((word) => !word.startsWith('--'));
const all = (option) => rest.includes(`--${option}`);
/** A dictionary, as the dev server gives it: without types. */
async function dictionary(language) {
  const code = await (await fetch(`${origin}/src/i18n/${language}.ts`)).text();
  return (await import(`data:text/javascript,${encodeURIComponent(code)}`))[language];
}
const [en, zh] = [await dictionary('en'), await dictionary('zh')];
const DESKTOP = { width: 1440, height: 900 };
const PHONE = { width: 390, height: 844 };
const SIDE = { width: 844, height: 390 };
const at = (query) => `/src/preview/index.html?${query}`;
const replay = (seconds) => `/replay/r#token=a.b.c&t=${seconds}`;
const press =
  (...keys) =>
  async (page) => {
    for (const key of keys) await page.keyboard.press(key);
    await page.waitForTimeout(500);
  };
/** A button's English words, or some of them, as the page has them now. */
function words(label) {
  if (!all('zh')) return label;
  const fits = ([, text]) => {
    if (label instanceof RegExp) return label.test(text.replace(/ ?\{.*$/, ' '));
    const [head, tail] = text.split(/\{\w+\}/);
    return tail === undefined ? text === label : head !== '' && label.startsWith(head);
  };
  const key = Object.entries(en).find(fits)?.[0];
  if (key === undefined) return label;
  const [head, tail = ''] = en[key].split(/\{\w+\}/);
  const gap = typeof label === 'string' ? label.slice(head.length, label.length - tail.length) : '';
  const [before, after] = zh[key].split(/\{\w+\}/);
  return after === undefined || gap === '' ? before : `${before}${gap}${after}`;
}
const click = (label) => async (page) => {
  await page
    .getByRole('button', { name: words(label) })
    .first()
    .click();
  await page.waitForTimeout(400);
};
const then =
  (...steps) =>
  async (page) => {
    for (const step of steps) await step(page);
  };
const look =
  (label = 'Look into') =>
  async (page) => {
    const button = page.getByRole('button', { name: words(label) }).first();
    await button.click();
    await button
      .or(page.locator('.wall'))
      .first()
      .evaluate((wall) => wall.closest('.room').scrollIntoView());
    await page.waitForTimeout(2_200);
  };
const toAudit = async (page) => {
  await page.locator('#audit-title').evaluate((heading) => heading.scrollIntoView());
  await page.waitForTimeout(300);
};

const SHOTS = [
  { name: 'landing', path: '/', recent: true },
  { name: 'landing-dark', path: '/', dark: true },
  { name: 'landing-phone', path: '/', size: PHONE, recent: true },
  { name: 'landing-zh', path: '/', zh: true },
  { name: 'lobby', path: at('lobby=teacher') },
  { name: 'lobby-student-dark', path: at('lobby=student'), dark: true },
  { name: 'lobby-phone', path: at('lobby=student'), size: PHONE },
  { name: 'lobby-denied', path: at('lobby=teacher'), denied: true },
  { name: 'lobby-zh', path: at('lobby=observer'), zh: true },
  { name: 'grid', path: at('students=8&hands=3') },
  { name: 'grid-dark', path: at('students=8&hands=3'), dark: true },
  { name: 'grid-many', path: at('students=40&quiet') },
  {
    name: 'people',
    path: at('students=12&hands=3&floor=s0&observer&locked'),
    act: then(press('p'), click(/What students may do/)),
  },
  { name: 'people-dark-zh', path: at('students=12&hands=2&title=代数课'), act: press('p'), dark: true, zh: true },
  { name: 'chat', path: at('students=5&messages'), act: press('c') },
  { name: 'chat-student-closed', path: at('role=student&students=5&messages&silent'), act: press('c'), dark: true },
  { name: 'stage-screen', path: at('role=student&preset=lecture&students=6&screen&hands=1') },
  { name: 'stage-seminar-screen', path: at('role=student&preset=seminar&students=9&screen&messages'), act: press('c') },
  { name: 'tutoring', path: at('role=teacher&preset=tutoring&students=1') },
  { name: 'alone', path: at('role=teacher&students=0') },
  { name: 'waiting', path: at('role=observer&students=2&preset=lecture') },
  { name: 'reconnecting', path: at('role=student&students=4&reconnecting') },
  { name: 'toasts', path: at('role=student&students=4&events'), wait: 2500 },
  { name: 'toasts-teacher', path: at('students=4&events'), wait: 2500 },
  { name: 'settings', path: at('students=3'), act: click('Settings') },
  { name: 'slow', path: at('role=student&students=9&slow') },
  { name: 'slow-zh-dark', path: at('role=student&students=9&slow'), zh: true, dark: true },
  { name: 'slow-screen', path: at('role=student&preset=lecture&students=6&screen&slow') },
  { name: 'slow-phone', path: at('role=student&students=6&slow'), size: PHONE },
  { name: 'trouble', path: at('students=9&slow&hands=1'), act: press('p') },
  { name: 'trouble-phone-dark', path: at('students=9&slow'), size: PHONE, act: press('p'), dark: true },
  { name: 'stats', path: at('role=student&students=6&slow&usage=ok'), act: press('i') },
  { name: 'stats-phone-zh', path: at('role=student&students=6&slow&usage=ok'), size: PHONE, act: press('i'), zh: true },
  { name: 'budget-save', path: at('role=student&students=5&usage=save'), act: click('Settings'), dark: true },
  { name: 'budget-over', path: at('role=student&students=5&usage=over') },
  { name: 'budget-over-phone-zh', path: at('role=student&students=5&usage=over'), size: PHONE, zh: true },
  { name: 'help', path: at('students=3'), act: press('?'), dark: true },
  { name: 'leave-menu', path: at('students=3'), act: click('Leave') },
  { name: 'phone-grid', path: at('students=7&hands=1&messages'), size: PHONE },
  { name: 'phone-stage', path: at('role=student&preset=lecture&students=3&screen&floor=s0'), size: PHONE },
  { name: 'phone-tutoring', path: at('role=student&preset=tutoring&students=0'), size: PHONE, dark: true },
  { name: 'phone-side', path: at('role=student&preset=lecture&students=3&screen&floor=s0'), size: SIDE },
  { name: 'phone-chat', path: at('role=student&students=5&messages'), size: PHONE, act: press('c') },
  { name: 'phone-people', path: at('students=9&hands=2'), size: PHONE, act: press('p') },
  { name: 'phone-more', path: at('students=9&hands=2'), size: PHONE, act: click('More'), dark: true },
  { name: 'rec-ask', path: at('students=5'), act: click('Record the class') },
  { name: 'rec-teacher', path: at('students=6&rec&agreed'), act: then(press('p'), click(/^Recording:/)) },
  { name: 'rec-controls-dark', path: at('students=6&rec'), act: then(press('p'), click(/^Recording$/)), dark: true },
  { name: 'rec-student', path: at('role=student&students=5&rec') },
  { name: 'rec-student-zh-dark', path: at('role=student&students=5&rec=paused'), zh: true, dark: true },
  { name: 'rec-phone', path: at('role=student&students=4&rec'), size: PHONE },
  { name: 'rec-phone-side', path: at('role=student&students=3&rec'), size: SIDE },
  { name: 'rec-phone-more', path: at('students=4&rec'), size: PHONE, act: click('More'), dark: true },
  { name: 'rec-failed', path: at('role=student&students=4&rec=failed') },
  { name: 'rec-settings', path: at('role=student&students=3&rec'), act: click('Settings') },
  { name: 'replay', path: replay(35), recording: {} },
  { name: 'replay-dark', path: replay(35), recording: {}, act: press(' '), dark: true },
  { name: 'replay-grid-people', path: replay(12), recording: { state: 'recovered' }, act: click('People: 5') },
  { name: 'replay-contents', path: replay(31), recording: { mix: false }, act: click('Contents and search') },
  { name: 'replay-zh', path: replay(35), recording: {}, zh: true },
  { name: 'replay-live', path: replay(20), recording: { state: 'live' } },
  { name: 'replay-empty', path: replay(0), recording: { empty: true } },
  { name: 'replay-phone', path: replay(35), recording: {}, size: PHONE },
  { name: 'replay-phone-chat-dark', path: replay(35), recording: {}, size: PHONE, act: click('Chat'), dark: true },
  { name: 'replay-phone-side', path: replay(35), recording: {}, size: SIDE },
  { name: 'replay-wrong', path: '/replay/r' },
  { name: 'replay-expired-dark', path: replay(1), recording: 'token-expired', dark: true },
  { name: 'replay-unreachable-zh', path: replay(1), recording: 'abort', zh: true, size: PHONE },
  ...['left', 'ended', 'removed', 'replaced', 'expired', 'wrong-link', 'room-full', 'unreachable'].map(
    (kind, index) => ({
      name: `outcome-${kind}`,
      path: at(`outcome=${kind}`),
      dark: index % 2 === 1,
      zh: index % 3 === 2,
      size: index > 5 ? PHONE : DESKTOP,
    }),
  ),
  { name: 'watched', path: at('students=6&rec&watched') },
  { name: 'watched-student-dark-zh', path: at('role=student&students=5&watched'), dark: true, zh: true },
  { name: 'watched-phone', path: at('role=student&students=4&rec&watched'), size: PHONE },
  { name: 'watched-phone-side', path: at('role=student&students=3&rec&watched'), size: SIDE },
  { name: 'toast-menu', path: at('students=6&rec&events'), act: click(/^Recording:/), wait: 2500 },
  { name: 'console-sign-in', path: '/console' },
  { name: 'console-wrong-key', path: '/console#key=wrong', api: 401 },
  { name: 'console', path: '/console#key=right', api: 200 },
  { name: 'console-dark-zh', path: '/console#key=right', api: 200, dark: true, zh: true },
  { name: 'console-phone', path: '/console#key=right', api: 200, size: PHONE },
  {
    name: 'console-delete-dark',
    path: '/console#key=right',
    api: 200,
    dark: true,
    act: click('Delete Piano with Lucía'),
  },
  {
    name: 'console-delete-exporting',
    path: '/console#key=right',
    api: 200,
    act: click('Delete Algebra, class 7b, exported'),
  },
  { name: 'console-wall', path: '/console#key=right', api: 200, act: look() },
  { name: 'console-wall-dark-zh', path: '/console#key=right', api: 200, act: look('查看“'), dark: true, zh: true },
  { name: 'console-wall-phone', path: '/console#key=right', api: 200, act: look(), size: PHONE },
  { name: 'console-wall-phone-dark', path: '/console#key=right', api: 200, act: look(), size: PHONE, dark: true },
  { name: 'console-wall-empty', path: '/console#key=right', api: 'nobody' },
  { name: 'console-wall-error', path: '/console#key=right', api: 'no-wall', act: look() },
  {
    name: 'console-wall-error-phone-zh',
    path: '/console#key=right',
    api: 'no-wall',
    act: look('查看“'),
    size: PHONE,
    zh: true,
  },
  { name: 'console-export', path: '/console#key=right', api: 200, act: click('Export Piano with Lucía') },
  {
    name: 'console-export-dark-zh',
    path: '/console#key=right',
    api: 200,
    dark: true,
    zh: true,
    act: click('导出 Piano with Lucía'),
  },
  {
    name: 'console-export-phone',
    path: '/console#key=right',
    api: 200,
    size: PHONE,
    act: click('Export Piano with Lucía'),
  },
  { name: 'console-empty', path: '/console#key=right', api: 'empty' },
  { name: 'console-audit', path: '/console#key=right', api: 200, act: toAudit },
  { name: 'console-audit-dark-zh', path: '/console#key=right', api: 200, act: toAudit, dark: true, zh: true },
  { name: 'console-audit-phone', path: '/console#key=right', api: 200, size: PHONE, act: toAudit },
  {
    name: 'console-audit-phone-dark-zh',
    path: '/console#key=right',
    api: 200,
    size: PHONE,
    act: toAudit,
    dark: true,
    zh: true,
  },
  { name: 'console-audit-empty', path: '/console#key=right', api: 'empty', act: toAudit },
  { name: 'console-audit-error', path: '/console#key=right', api: 'no-audit', act: toAudit, dark: true },
];

const participants = ['Ana Souza', 'Bo Lindqvist', '王小明', 'Dalia Farouk'].map((name, index) => ({
  identity: `p${index}`,
  name,
  role: index === 0 ? 'teacher' : 'student',
  present: true,
  media: index === 3 ? 'disconnected' : 'connected',
  quality: ['good', 'good', 'fair', 'lost'][index],
  tracks: index === 0 ? ['microphone', 'camera', 'screen'] : index === 3 ? [] : ['microphone', 'camera'],
  muted: index === 1 ? ['microphone'] : [],
}));
/** A made-up picture of somebody: no camera is at hand. */
const face = (hue) => `<svg xmlns="http://www.w3.org/2000/svg" width="256" height="144"><rect width="256" height="144"
  fill="hsl(${hue} 24% 42%)"/><circle cx="128" cy="66" r="34" fill="hsl(${hue} 40% 76%)"/><ellipse cx="128" cy="150" rx="70"
  ry="52" fill="hsl(${hue} 50% 30%)"/></svg>`;
const page = `<svg xmlns="http://www.w3.org/2000/svg" width="256" height="160"><rect width="256" height="160" fill="#fff"/>
  <rect x="20" y="18" width="130" height="14" fill="#0c7a70"/>${[48, 66, 84, 102, 120].map((y) => `<rect x="20" y="${y}" width="${216 - (y % 40)}" height="7" fill="#b8c4c2"/>`).join('')}</svg>`;
const thumbnails = [
  ['p0', 'camera', face(28)],
  ['p0', 'screen', page],
  ['p1', 'camera', face(200)],
].map(([participant, source, picture], index) => ({
  id: String(index + 1),
  participant,
  source,
  at: new Date().toISOString(),
  width: 256,
  height: 144,
  bytes: picture.length,
  picture,
}));
/** `GET /api/rooms/{room}/thumbnails` and below it. */
function lookedAt(url, api) {
  if (api === 'no-wall') return { status: 503, json: {} };
  const id = url.split('/thumbnails/')[1];
  const picture = thumbnails.find((thumbnail) => thumbnail.id === id)?.picture;
  if (picture) return { contentType: 'image/svg+xml', body: picture };
  return { json: { thumbnails: api === 'nobody' ? [] : thumbnails, lookSeconds: 15 } };
}
const rooms = [
  {
    room: 'algebra-7b',
    title: 'Algebra, class 7b',
    preset: 'lecture',
    lesson: 'a',
    openedAt: new Date(Date.now() - 1.5e6).toISOString(),
    participants,
  },
  {
    room: 'piano',
    title: 'Piano with Lucía',
    preset: 'tutoring',
    lesson: 'b',
    openedAt: new Date(Date.now() - 3e5).toISOString(),
    participants: participants.slice(0, 2),
  },
];
const roomsOf = (api) => (api === 'nobody' ? rooms.map((room) => ({ ...room, participants: [] })) : rooms);
const recordings = ['live', 'final', 'recovered'].map((state, index) => ({
  id: `r${index}`,
  room: index === 1 ? 'piano' : 'algebra-7b',
  title: ['Algebra, class 7b', 'Piano with Lucía', 'Algebra, class 7b, exported'][index],
  inUse: index !== 1,
  lesson: 'l',
  state,
  began: new Date(Date.UTC(2026, 10, 21 - index, 9)).toISOString(),
  durationMs: 2.7e6 + index * 4e5,
  bytes: 4.1e8 + index * 3e8,
  tracks: 9,
  people: ['Ana Souza', 'Bo Lindqvist', '王小明', 'Dalia Farouk', 'Emeka Obi', 'Hana Suzuki'].slice(0, 2 + index * 2),
}));
const audit = [
  { actor: 'console', act: 'sign-in', address: '203.0.113.20' },
  { actor: 'stranger', act: 'sign-in', address: '198.51.100.7', outcome: 'unauthenticated' },
  {
    actor: 'participant',
    identity: 'ana.souza',
    act: 'participant.remove',
    room: 'algebra-7b',
    object: 'bo.lindqvist',
    address: '203.0.113.9',
  },
  {
    actor: 'participant',
    identity: 'bo.lindqvist',
    act: 'room.settings',
    room: 'algebra-7b',
    address: '2001:db8:85a3::8a2e:370:7334',
    outcome: 'forbidden',
    detail: { studentMicrophones: true, locked: false },
  },
  { actor: 'participant', identity: 'ana.souza', act: 'recording.start', room: 'algebra-7b', address: '203.0.113.9' },
  {
    actor: 'api-key',
    act: 'token.create',
    room: 'piano',
    address: '10.0.4.2',
    detail: { identity: 'a-very-long-identity-of-a-school-system-0123456789', role: 'student', ttlSeconds: 43200 },
  },
  { actor: 'console', act: 'recording.delete', room: 'piano', object: 'f00dfeedf00dfeed', address: '203.0.113.20' },
].map((entry, index) => ({
  seq: 40 - index,
  at: new Date(Date.UTC(2026, 10, 21, 9, 40 - index * 7)).toISOString(),
  outcome: 'ok',
  ...entry,
}));
const exports = [
  { kind: 'composed', state: 'running', progress: 0.37 },
  { kind: 'screen', state: 'failed', progress: 0, error: { code: 'disk-full', message: '' } },
  { kind: 'sound', state: 'queued', progress: 0 },
  { kind: 'copy', state: 'done', progress: 1, bytes: 4.1e8 },
];
const node = {
  version: '0.1.0',
  uptimeSeconds: 93_845,
  workers: [
    { busy: 0.34, peers: 41, rooms: 2, packetsPerSecond: 18_240 },
    { busy: 0.72, peers: 80, rooms: 3, packetsPerSecond: 41_377 },
  ],
};

const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  args: [
    '--headless=new',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-background-networking',
    '--use-fake-device-for-media-stream',
    '--use-fake-ui-for-media-stream',
  ],
});
/** A shot as the options want it. */
function wanted(shot) {
  const size = all('phone') ? PHONE : all('desktop') ? DESKTOP : (shot.size ?? DESKTOP);
  return { ...shot, size, zh: shot.zh || all('zh'), dark: all('dark') || (shot.dark && !all('light')) };
}
for (const shot of SHOTS.map(wanted)) {
  if (only.length > 0 && !only.some((name) => shot.name.startsWith(name))) continue;
  const { size } = shot;
  const context = await browser.newContext({
    viewport: size,
    deviceScaleFactor: size.width < 1000 ? 2 : 1,
    hasTouch: size !== DESKTOP,
    isMobile: size !== DESKTOP,
    colorScheme: shot.dark ? 'dark' : 'light',
    locale: shot.zh ? 'zh-CN' : 'en-US',
  });
  const page = await context.newPage();
  page.on('pageerror', (error) => console.log(shot.name, 'ERROR', error.message));
  page.on(
    'console',
    (message) =>
      ['error', 'warning'].includes(message.type()) && console.log(shot.name, message.type(), message.text()),
  );
  if (shot.denied) {
    await page.addInitScript(() => {
      navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'));
    });
  }
  if (shot.recent) {
    await page.addInitScript(() => {
      const entry = (room, title, role, minutes) => ({
        room,
        title,
        name: 'Ana Souza',
        role,
        url: `/room/${room}#token=x`,
        lastSeen: Date.now() - minutes * 6e4,
        expiresAt: Date.now() + 1e8,
      });
      localStorage.setItem(
        'lectern.recent',
        JSON.stringify([
          entry('algebra-7b', 'Algebra, class 7b', 'teacher', 4),
          entry('piano', 'Piano with Lucía', 'student', 1500),
        ]),
      );
    });
  }
  if (shot.recording) {
    const made = typeof shot.recording === 'string' ? undefined : makeRecording(`${folder}/media`, shot.recording);
    await page.route('**/api/recordings/**', (route) => {
      if (made) return route.fulfill(answer(made, route.request().url(), route.request().headers()));
      if (shot.recording === 'abort') return route.abort();
      return route.fulfill({ status: 401, json: { error: { code: shot.recording, message: '' } } });
    });
  }
  if (shot.api) {
    await page.route('**/api/**', (route) =>
      shot.api === 401
        ? route.fulfill({ status: 401, json: {} })
        : route.request().url().includes('/thumbnails')
          ? route.fulfill(lookedAt(route.request().url(), shot.api))
          : route.fulfill({
              ...(shot.api === 'no-audit' && route.request().url().includes('audit') ? { status: 503 } : {}),
              json: route.request().url().includes('node')
                ? node
                : route.request().url().includes('audit')
                  ? { entries: shot.api === 'empty' ? [] : audit }
                  : route.request().url().endsWith('/exports')
                    ? { exports }
                    : route.request().url().includes('recordings')
                      ? { recordings: shot.api === 'empty' ? [] : recordings }
                      : { rooms: shot.api === 'empty' ? [] : roomsOf(shot.api), thumbnails: true },
            }),
    );
  }
  await page.goto(origin + shot.path);
  await page.waitForTimeout(shot.wait ?? 1300);
  // What is not there on a page of this size is no reason to stop.
  page.setDefaultTimeout(5_000);
  await shot.act?.(page).catch((error) => console.log(shot.name, 'ACT', error.message.split('\n')[0]));
  await page.screenshot({ path: `${folder}/${shot.name}.png` });
  await context.close();
}
await browser.close();
