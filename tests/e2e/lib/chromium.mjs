// The system's Chromium with fake devices.
import { accessSync, constants } from 'node:fs';
import { chromium } from 'playwright-core';

export const executable = (names, named) => {
  if (named) return named;
  for (const name of names) {
    for (const folder of (process.env.PATH ?? '').split(':')) {
      try {
        accessSync(`${folder}/${name}`, constants.X_OK);
        return `${folder}/${name}`;
      } catch {
        // not there
      }
    }
  }
  throw new Error(`none of ${names.join(', ')} is installed`);
};

const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--use-fake-device-for-media-stream',
  '--use-fake-ui-for-media-stream',
  '--allow-loopback-in-peer-connection',
  '--autoplay-policy=no-user-gesture-required',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
  // Several people in one browser: none of their pages may be slowed for not being in front.
  '--disable-background-timer-throttling',
  '--disable-backgrounding-occluded-windows',
  '--disable-renderer-backgrounding',
];

export async function launchChromium({ args = [], fakeDevices = true } = {}) {
  const all = fakeDevices ? ARGS : ARGS.filter((arg) => !arg.startsWith('--use-fake-device'));
  return chromium.launch({
    executablePath: executable(['chromium', 'chromium-browser', 'google-chrome'], process.env.CHROMIUM),
    headless: true,
    args: [...all, ...args],
  });
}

/**
 * A page whose troubles are kept: `page.troubles` holds uncaught errors and violations of the Content-Security-Policy, and
 * `page.said` everything on its console.
 */
export async function newPage(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: 'en-GB', ...options });
  const page = await context.newPage();
  page.troubles = [];
  page.said = [];
  page.on('pageerror', (error) => page.troubles.push(`uncaught: ${error.stack ?? error.message}`));
  page.on('console', (message) => {
    page.said.push(`${message.type()}: ${message.text()}`);
    if (/Content Security Policy|Refused to/i.test(message.text())) page.troubles.push(`policy: ${message.text()}`);
    if (process.env.LECTERN_E2E_LOG) console.error(`[page] ${message.type()}: ${message.text()}`);
  });
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) => {
      console.error(
        `Content Security Policy violation: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`,
      );
    });
  });
  return page;
}
