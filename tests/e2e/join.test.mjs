// How long a person waits. The figures with their spread are in docs/benchmarks.md (bench/join.mjs).
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { looks } from './lib/looks.mjs';
import { percentile, until } from './lib/until.mjs';
import { World } from './lib/world.mjs';

let world;
before(async () => (world = await World.start()));
after(() => world?.stop());

looks(
  'from the click to the first remote frame: under a second',
  { timeout: 90_000, close: () => world.closeLabs() },
  async () => {
    const room = world.room('join');
    const there = await world.lab();
    await world.join(there, { room, identity: 'teacher', look: 0, role: 'teacher', preset: 'seminar' });
    const lab = await world.lab();
    const waits = [];
    for (let i = 0; i < 7; i += 1) {
      const identity = `student-${i}`;
      await world.join(lab, { room, identity, look: 1 });
      waits.push(await until('the first frame', () => lab.do('firstFrameMs', identity)));
      await lab.do('leave', identity);
    }
    const median = percentile(waits, 50);
    console.log(`# join: ${waits.map(Math.round).join(', ')} ms`);
    assert.ok(median < 1000, `median ${median} ms of ${waits.map(Math.round)}`);
  },
);

looks(
  'a late joiner sees a picture within a second, and the whole lesson so far',
  { timeout: 60_000, close: () => world.closeLabs() },
  async () => {
    const room = world.room('late');
    const lab = await world.lab();
    await world.join(lab, { room, identity: 'teacher', look: 0, role: 'teacher', preset: 'seminar' });
    await world.join(lab, { room, identity: 'early', look: 1 });
    await lab.sees('early', 'teacher', 0, { frames: 30 });
    await lab.call('teacher', 'chat', 'Page 12, please');
    await lab.call('early', 'hand', true);
    const late = await world.lab();
    await world.join(late, { room, identity: 'late', look: 2 });
    await late.sees('late', 'teacher', 0);
    await late.sees('late', 'early', 1);
    const wait = await late.do('firstFrameMs', 'late');
    assert.ok(wait < 1000, `the first frame came after ${Math.round(wait)} ms`);
    const { state } = await late.report('late');
    assert.deepEqual(state.hands, ['early']);
    assert.deepEqual(
      state.chat.map(({ by, text }) => [by, text]),
      [['teacher', 'Page 12, please']],
    );
  },
);
