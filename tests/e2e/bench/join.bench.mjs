// Joins in Chromium on loopback: 20 people, one after the other, each in a fresh page, into a room where a teacher sends
// 640x360 VP8 and Opus. The clock starts at `join()` (the click) and stops at the first remote frame that is presented.
import { percentile, until } from '../lib/until.mjs';
import { World } from '../lib/world.mjs';
import { ms, table } from './table.mjs';

const JOINS = 20;

export async function measure() {
  const world = await World.start();
  try {
    const room = world.room('bench-join');
    const teacher = await world.lab();
    await world.join(teacher, {
      room,
      identity: 'teacher',
      look: 0,
      role: 'teacher',
      preset: 'seminar',
      width: 640,
      height: 360,
    });
    const frames = [];
    const joined = [];
    for (let i = 0; i < JOINS; i += 1) {
      const lab = await world.lab();
      const identity = `student-${i}`;
      await world.join(lab, { room, identity, look: 1, width: 640, height: 360 });
      frames.push(await until('the first frame', () => lab.do('firstFrameMs', identity)));
      const marks = await lab.do('marks', identity);
      joined.push(marks.joined - marks.clicked);
      await lab.do('leave', identity);
      await lab.close();
    }
    const row = (what, values) => [
      what,
      ms(percentile(values, 50)),
      ms(percentile(values, 95)),
      ms(Math.max(...values)),
    ];
    return table(
      [`${JOINS} joins`, 'p50', 'p95', 'slowest'],
      [row('click to `join` answered and applied', joined), row('click to first remote frame', frames)],
    );
  } finally {
    await world.stop();
  }
}
