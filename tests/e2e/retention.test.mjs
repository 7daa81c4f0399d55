// How long recordings are kept: the console shows it, and changes it.
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { launchChromium, newPage } from './lib/chromium.mjs';
import { Server } from './lib/server.mjs';

test('the console shows when a recording goes, and keeps it', { timeout: 60_000 }, async () => {
  const server = new Server({ args: ['--recording-retention-days', '30'] });
  const folder = join(server.folder, 'data/recordings/r1');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  writeFileSync(join(folder, 'timeline.ndjson'), '');
  const manifest = {
    ...{ version: 1, id: 'r1', room: 'knots', title: 'Knots', lesson: 'l', state: 'final', durationMs: 60_000 },
    ...{ began: new Date().toISOString(), tracks: [], pauses: [], timeline: 'timeline.ndjson', timelineBytes: 0 },
  };
  writeFileSync(join(folder, 'manifest.json'), JSON.stringify(manifest));
  let browser;
  try {
    await server.up();
    browser = await launchChromium();
    const page = await newPage(browser);
    await page.goto(`${server.url}/console#key=${server.apiKey}`);
    await page.getByText('Is removed after').waitFor();
    const choose = async (option) => {
      await page.getByRole('button', { name: 'How long Knots is kept' }).click();
      await page.getByLabel('Keep it').selectOption(option);
    };
    const save = () => page.getByRole('button', { name: 'Save' }).click();
    await choose('forever');
    await save();
    await page.getByText('Is kept for ever').waitFor();
    // A day that has passed is none.
    await choose('day');
    await page.getByLabel('Last day').fill('2020-01-01');
    assert.ok(await page.getByRole('button', { name: 'Save' }).isDisabled());
    await page.getByLabel('Last day').fill('2099-08-31');
    await save();
    await page.getByText('Is removed after August 31, 2099').waitFor();
    assert.deepEqual(page.troubles, []);
  } finally {
    await browser?.close();
    await server.stop();
  }
});
