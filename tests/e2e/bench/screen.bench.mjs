// A shared screen of small text, a new page each three seconds and five letters a second between, 1280 by 720: what the sharer's browser
// sends in each codec, and how it reads on another's page on a good network. SSIM is against the page that was drawn, over the
// windows that are not empty (lab/screen.mjs).
import { picture, framesPerSecond } from '../lib/measure.mjs';
import { sleep, until } from '../lib/until.mjs';
import { World } from '../lib/world.mjs';
import { table } from './table.mjs';

const SECONDS = 12;

async function share(world, codec, screen) {
  const room = world.room(`screen-${codec}`);
  const [desk, lab] = [await world.lab(), await world.lab()];
  const teacher = { room, identity: 'ada', role: 'teacher', preset: 'seminar', codec, sources: [], watch: false };
  await world.join(desk, teacher);
  await world.join(lab, { room, identity: 'ben', sources: [], viewWidth: 1280, viewHeight: 720 });
  await desk.must('publish', 'ada', 'screen', { screen });
  await until('the screen is seen', () => lab.do('reads', 'ben', 'ada'), { within: 20_000 });
  await sleep(3000);
  const before = await desk.do('figures');
  await lab.do('measure', 'ben', 200);
  const ssims = [];
  for (const end = Date.now() + SECONDS * 1000; Date.now() < end; await sleep(250)) {
    // A film is not judged: nobody knows which frame it was.
    if (screen.kind !== 'film') ssims.push((await lab.do('reads', 'ben', 'ada')).ssim);
  }
  const after = await desk.do('figures');
  const received = picture(await lab.do('measured', 'ben'), 'ada', 'screen');
  await desk.close();
  await lab.close();
  const seconds = (after.at - before.at) / 1000;
  const layers = ['l', 'h'].map((rid) => {
    const [from, to] = [before, after].map(({ streams }) =>
      streams.find((stream) => stream.type === 'outbound-rtp' && stream.rid === rid && stream.bytesSent > 0),
    );
    if (!to) return 'nothing';
    const grown = (field) => (to[field] - (from?.[field] ?? 0)) / seconds;
    const kilobits = Math.round((grown('bytesSent') * 8) / 1000);
    const cpu = (grown('totalEncodeTime') * 100).toFixed(0);
    return `${to.frameWidth}x${to.frameHeight}, ${grown('framesEncoded').toFixed(1)} a second, ${kilobits} kbit/s, ${cpu} %`;
  });
  ssims.sort((a, b) => a - b);
  const reads = ssims.length
    ? `${ssims[0].toFixed(3)} / ${ssims[Math.floor(ssims.length / 2)].toFixed(3)}`
    : `${framesPerSecond(received).toFixed(1)} frames a second`;
  return [...layers, reads];
}

export async function measure() {
  const world = await World.start();
  try {
    const rows = [];
    for (const codec of ['vp8', 'vp9', 'h264', 'av1'])
      rows.push([`text, ${codec.toUpperCase()}`, ...(await share(world, codec, { everyMs: 3000 }))]);
    rows.push(['video, VP8', ...(await share(world, 'vp8', { kind: 'film' }))]);
    const head = ['screen', 'lower layer', 'upper layer', 'SSIM received, worst / median'];
    return table(head, rows);
  } finally {
    await world.stop();
  }
}
