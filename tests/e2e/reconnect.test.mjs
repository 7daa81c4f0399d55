// People who go away without a word and come back: a closed lid, a reload, a page that crashed. Nobody is there twice, and nobody stays who
// is not there. (kill -9 of the server is crash.test.mjs, a cut of the signalling resume.test.mjs, another address firewall.test.mjs.)
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { launchChromium } from './lib/chromium.mjs';
import { Lab } from './lib/lab.mjs';
import { sleep, until } from './lib/until.mjs';
import { World } from './lib/world.mjs';

let world;
before(async () => (world = await World.start()));
after(() => world?.stop());

/** `{pid: parent}` of all processes. */
function parents() {
  const found = new Map();
  for (const name of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    try {
      const fields = readFileSync(`/proc/${name}/stat`, 'utf8')
        .replace(/^.*\)\s/, '')
        .split(' ');
      found.set(Number(name), Number(fields[1]));
    } catch {
      // It has ended.
    }
  }
  return found;
}

/** A browser on a machine of its own, whose lid can be closed. */
class Laptop {
  #root;

  static async open() {
    const laptop = new Laptop();
    const children = () => [...parents()].filter(([, parent]) => parent === process.pid).map(([pid]) => pid);
    const before = new Set(children());
    laptop.browser = await launchChromium();
    [laptop.#root] = children().filter((pid) => !before.has(pid));
    return laptop;
  }

  #all() {
    const all = [this.#root];
    const tree = parents();
    for (const pid of all) all.push(...[...tree].filter(([, parent]) => parent === pid).map(([child]) => child));
    return all;
  }

  /** Nothing of it runs any more: no page, no timer, no media, no answer to anybody. */
  shut() {
    for (const pid of this.#all()) process.kill(pid, 'SIGSTOP');
  }

  lift() {
    for (const pid of this.#all().reverse()) process.kill(pid, 'SIGCONT');
  }

  async close() {
    this.lift();
    await this.browser.close();
  }
}

/** Who is there, as the server and as ada's page have it. */
async function there(teacher, room) {
  const { participants } = await world.server.rooms(room);
  const { state } = await teacher.report('ada');
  const present = Object.entries(state.participants).filter(([, { present }]) => present);
  return {
    server: participants.map(({ identity }) => identity).sort(),
    page: present.map(([identity]) => identity).sort(),
  };
}
const just = (...identities) => ({ server: identities, page: identities });

async function desk(room) {
  const teacher = await world.lab();
  await world.join(teacher, { room, identity: 'ada', look: 0, role: 'teacher', preset: 'seminar' });
  return teacher;
}

test('lids that are closed: back in class after a minute, once; or gone', { timeout: 240_000 }, async () => {
  const room = world.room('lid');
  const teacher = await desk(room);
  const [short, long] = [await Laptop.open(), await Laptop.open()];
  try {
    const lab = await Lab.open(short.browser, world.front);
    await world.join(lab, { room, identity: 'ben', look: 1 });
    await world.join(await Lab.open(long.browser, world.front), { room, identity: 'cem', look: 2 });
    await lab.sees('ben', 'ada', 0, { frames: 20 });
    await teacher.sees('ada', 'ben', 1, { frames: 20 });
    await teacher.sees('ada', 'cem', 2, { frames: 20 });
    short.shut();
    long.shut();
    const shutAt = performance.now();
    const seconds = () => (performance.now() - shutAt) / 1000;
    // The teacher is not left to wonder about pictures that stand still.
    const isLost = async (identity) => (await teacher.do('call', 'ada', 'qualityOf', [identity])).ok === 'lost';
    await until('the teacher sees that both are lost', async () => (await isLost('ben')) && (await isLost('cem')));
    const noticed = seconds();
    await sleep(60_000 - 1000 * seconds());
    short.lift();
    const liftedAt = performance.now();
    const back = { frames: 20, within: 30_000 };
    await Promise.all([lab.sees('ben', 'ada', 0, back), teacher.sees('ada', 'ben', 1, back)]);
    const backMs = Math.round(performance.now() - liftedAt);
    console.log(
      `# a lid closed for a minute: told after ${noticed.toFixed(1)} s; both move again ${backMs} ms after it`,
    );
    assert.ok(noticed < 12 && backMs < 20_000, `${noticed} s, ${backMs} ms`);
    await lab.call('ben', 'chat', 'back');
    await until('the teacher reads it', async () => (await teacher.report('ada')).state.chat.at(-1)?.text === 'back');
    const events = await teacher.do('events', 'ada');
    const times = (wanted) => events.filter(({ kind, participant }) => kind === wanted && participant === 'ben').length;
    assert.equal(times('joined'), times('left') + 1);

    await until(
      'who stays away has left',
      async () => JSON.stringify(await there(teacher, room)) === JSON.stringify(just('ada', 'ben')),
      { within: 60_000, every: 250 },
    );
    console.log(`# a lid that stays closed: gone after ${Math.round(seconds())} s`);
    const { pictures } = await teacher.report('ada');
    assert.deepEqual(Object.keys(pictures), ['ben camera'], 'no picture of nobody');
    // And who comes back all the same is in class.
    long.lift();
    await teacher.sees('ada', 'cem', 2, back);
    assert.deepEqual(await there(teacher, room), just('ada', 'ben', 'cem'));
  } finally {
    await short.close();
    await long.close();
  }
  await teacher.close();
});

for (const [name, comeAgain] of [
  [
    'a reload',
    async (lab) => {
      await lab.page.reload();
      await lab.page.waitForFunction('globalThis.labReady');
      return lab;
    },
  ],
  [
    'a page that crashed, and another',
    async (lab) => {
      const crashed = new Promise((resolve) => lab.page.once('crash', resolve));
      await lab.page.goto('chrome://crash').catch(() => {});
      await crashed;
      return world.lab();
    },
  ],
]) {
  test(`${name}: in class again, once`, { timeout: 90_000 }, async () => {
    const room = world.room('again');
    const teacher = await desk(room);
    let lab = await world.lab();
    await world.join(lab, { room, identity: 'ben', look: 1 });
    await lab.sees('ben', 'ada', 0, { frames: 20 });
    await teacher.sees('ada', 'ben', 1, { frames: 20 });
    for (const look of [2, 3]) {
      const from = performance.now();
      lab = await comeAgain(lab);
      await world.join(lab, { room, identity: 'ben', look });
      await Promise.all([lab.sees('ben', 'ada', 0, { frames: 10 }), teacher.sees('ada', 'ben', look, { frames: 10 })]);
      console.log(`# ${name}: both see each other after ${Math.round(performance.now() - from)} ms`);
      assert.deepEqual(await there(teacher, room), just('ada', 'ben'));
      const { state, pictures } = await teacher.report('ada');
      assert.deepEqual(Object.keys(pictures), ['ben camera'], 'one picture');
      assert.deepEqual(Object.keys(state.participants.ben.tracks).sort(), ['camera', 'microphone']);
    }
    // Nothing of those before comes to its end later, and takes ben along.
    await sleep(3000);
    assert.deepEqual(await there(teacher, room), just('ada', 'ben'));
    await teacher.close();
    await lab.close();
  });
}

test('a class that falls silent is not taken for a dead network', { timeout: 60_000 }, async () => {
  const room = world.room('silent');
  const teacher = await desk(room);
  const lab = await world.lab();
  await world.join(lab, { room, identity: 'ben', look: 1 });
  await Promise.all([lab.sees('ben', 'ada', 0, { frames: 20 }), teacher.sees('ada', 'ben', 1, { frames: 20 })]);
  for (const page of [teacher, lab]) {
    await page.evaluate(`(() => {
      globalThis.restarts = 0;
      const { createOffer } = RTCPeerConnection.prototype;
      RTCPeerConnection.prototype.createOffer = function (options) {
        if (options?.iceRestart) globalThis.restarts += 1;
        return createOffer.call(this, options);
      };
    })()`);
  }
  // One after the other: who sends alone is heard of by nobody but the server; in the end nobody sends.
  for (const [page, id, source] of [
    [teacher, 'ada', 'camera'],
    [lab, 'ben', 'microphone'],
    [teacher, 'ada', 'microphone'],
    [lab, 'ben', 'camera'],
  ]) {
    await page.call(id, 'unpublish', source);
    await sleep(2500);
  }
  await teacher.must('publish', 'ada', 'camera');
  await lab.sees('ben', 'ada', 0, { frames: 20 });
  for (const page of [teacher, lab])
    assert.equal(await page.evaluate('globalThis.restarts'), 0, 'nobody looked for another way');
  for (const page of [teacher, lab]) await page.close();
});
