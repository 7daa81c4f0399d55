// Nine people who all see each other.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { hears, LOOKS } from './lib/lab.mjs';
import { until } from './lib/until.mjs';
import { World } from './lib/world.mjs';

let world;
before(async () => (world = await World.start()));
after(() => world?.stop());

test(
  'nine in a seminar: all see all, the loudest three are heard, and leaving tidies up',
  { timeout: 180_000 },
  async () => {
    const room = world.room('nine');
    const labs = [await world.lab(), await world.lab(), await world.lab()];
    const people = Array.from({ length: 9 }, (_, look) => ({ identity: `p${look}`, look, lab: labs[look % 3] }));
    for (const { identity, look, lab } of people) {
      // Small pictures: nine encoders and 72 decoders share this machine.
      await world.join(lab, {
        room,
        identity,
        look,
        preset: 'seminar',
        role: look === 0 ? 'teacher' : 'student',
        width: 160,
        height: 90,
        framesPerSecond: 8,
        viewWidth: 160,
        viewHeight: 90,
        gain: look < 3 ? 0.4 : 0.02,
        speaks: true,
      });
    }
    for (const { identity, lab } of people) {
      for (const other of people) {
        if (other.identity !== identity)
          await lab.sees(identity, other.identity, other.look, { within: 40_000, frames: 3 });
      }
    }
    // Three audio slots: a student hears the teacher and the two other loud ones, or what remains without its own voice.
    const heard = await until('p8 hears p0, p1 and p2', async () => {
      const { sound } = await labs[2].report('p8');
      return [0, 1, 2].every((look) => hears(sound, LOOKS[look].frequency)) && sound;
    });
    assert.ok(heard.rms > 0.05);

    await labs[1].do('leave', 'p4');
    await until('p4 is gone from every wall', async () => {
      for (const { identity, lab } of people) {
        if (identity === 'p4') continue;
        const report = await lab.report(identity);
        if (report.state.participants.p4?.present || 'p4 camera' in report.pictures) return false;
      }
      return true;
    });
    // The others go on.
    const before = (await labs[0].report('p0')).pictures['p8 camera'].frames;
    await until(
      'p0 still sees p8 move',
      async () => (await labs[0].report('p0')).pictures['p8 camera'].frames > before + 5,
    );
  },
);
