// A class in which everybody has the same narrow way to the server.
import assert from 'node:assert/strict';
import { picture } from './measure.mjs';
import { sleep } from './until.mjs';

/** What a connection's checks over a relay come to, at most; a second of media is ten times as much. */
const CHECKS_BYTES = 5000;

/** How many bytes the relay has carried, each way. */
async function relayed(server) {
  const metrics = await server.metrics();
  const way = (direction) => metrics.get(`lectern_turn_bytes_total{direction="${direction}"}`) ?? 0;
  return { up: way('up'), down: way('down') };
}

/**
 * A teacher and a student who both have nothing but `network`: they see and hear each other, their pictures go on, and media takes
 * the `way`, as the browser's own figures say (`candidateType`, `relayProtocol`, `protocol` of the local candidate); a third comes
 * later, whose first picture is there within 2.5 s.
 */
export async function meet(world, network, way) {
  const { server } = world;
  const room = world.room('meet');
  const name = Object.values(way).filter(Boolean).join(' ');
  const [left, right] = [await world.lab({ network }), await world.lab({ network })];
  const begun = await relayed(server);
  await world.join(left, {
    room,
    identity: 'ada',
    look: 0,
    role: 'teacher',
    preset: 'seminar',
  });
  await world.join(right, { room, identity: 'ben', look: 2 });
  await Promise.all([left.sees('ada', 'ben', 2, { frames: 20 }), right.sees('ben', 'ada', 0, { frames: 20 })]);
  await Promise.all([left.hearsTone('ada', 2), right.hearsTone('ben', 0)]);
  await right.do('measure', 'ben', 100);
  await sleep(3000);
  const film = picture(await right.do('measured', 'ben'), 'ada');
  const frames = film.at(-1).framesDecoded - film[0].framesDecoded;
  assert.ok(frames > 20, `${frames} pictures in 3 s`);
  for (const page of [left, right]) {
    const ways = await page.do('ways');
    assert.ok(ways.length > 0);
    for (const found of ways)
      for (const [key, value] of Object.entries(way)) assert.equal(found[key], value, JSON.stringify(found));
  }
  const now = await relayed(server);
  if (way.candidateType === 'relay')
    assert.ok(now.up - begun.up > 50_000 && now.down - begun.down > 50_000, JSON.stringify({ begun, now }));
  // Checks may go by the relay too; media does not.
  else if (way.protocol)
    assert.ok(now.up - begun.up < CHECKS_BYTES && now.down - begun.down < CHECKS_BYTES, JSON.stringify({ begun, now }));
  // Who comes to a class that goes on waits for the network alone.
  const late = await world.lab({ network });
  await world.join(late, { room, identity: 'cem', look: 3 });
  await late.sees('cem', 'ada', 0);
  const firstFrameMs = Math.round(await late.do('firstFrameMs', 'cem'));
  console.log(`# ${name || 'any way'}: first frame after ${firstFrameMs} ms, ${frames} pictures in 3 s`);
  assert.ok(firstFrameMs < 2500, `the first frame came after ${firstFrameMs} ms`);
  for (const lab of [left, right, late]) await lab.close();
}
