// kill -9: no acknowledged event is lost, and people come back by themselves.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { until } from './lib/until.mjs';
import { World } from './lib/world.mjs';

let world;
before(async () => (world = await World.start()));
after(() => world?.stop());

test(
  'kill -9 in the middle of a class: the room opens again with all that was acknowledged',
  { timeout: 120_000 },
  async () => {
    const room = world.room('crash');
    const lab = await world.lab();
    await world.join(lab, { room, identity: 'teacher', look: 0, role: 'teacher', preset: 'seminar', title: 'Knots' });
    await world.join(lab, { room, identity: 'ben', look: 1 });
    await lab.sees('ben', 'teacher', 0);
    await lab.call('ben', 'hand', true);
    await lab.call('teacher', 'settings', { studentScreens: false });

    // Chat in a row; the process dies while some are still on their way. Each acknowledgement is a promise to be kept.
    const acknowledged = [];
    let talking = true;
    const talk = (async () => {
      for (let i = 0; i < 200 && talking; i += 1) {
        const result = await lab.do('call', i % 2 ? 'ben' : 'teacher', 'chat', [`line ${i}`]);
        if (result.error?.code === 'rate-limited') {
          await new Promise((resolve) => setTimeout(resolve, 300));
          continue;
        }
        if (result.error) return;
        acknowledged.push({ seq: result.ok.seq, text: `line ${i}` });
      }
    })();
    await until('some lines are acknowledged', () => acknowledged.length >= 6);
    const lesson = (await lab.report('ben')).state.lesson;
    talking = false;
    await world.server.kill();
    const promised = [...acknowledged];

    await world.server.up();

    // Both pages rejoin by themselves, with picture and sound.
    await until(
      'both are back',
      async () =>
        (await Promise.all(['teacher', 'ben'].map((id) => lab.report(id)))).every(
          (report) => report.connection.status === 'connected',
        ),
      { within: 45_000 },
    );

    await talk;

    await lab.sees('ben', 'teacher', 0, { within: 30_000 });
    await lab.sees('teacher', 'ben', 1, { within: 30_000 });
    const { state } = await lab.report('ben');
    assert.equal(state.lesson, lesson, 'the same lesson goes on');
    assert.equal(state.settings.title, 'Knots');
    assert.equal(state.settings.studentScreens, false);
    for (const { seq, text } of promised) {
      const kept = state.chat.find((entry) => entry.text === text);
      assert.ok(kept, `"${text}" was acknowledged and is lost`);
      assert.equal(kept.seq, seq);
    }
    // A newcomer reads the same.
    await world.join(lab, { room, identity: 'late', look: 2, sources: [] });
    const late = (await lab.report('late')).state;
    for (const { text } of promised) assert.ok(late.chat.some((entry) => entry.text === text));
  },
);
