// Opens every page of the console as a person would: in light and dark, wide and on a phone.
//
//   node console.mjs URL KEY SHOTS CALL      screenshots go to the folder SHOTS; CALL is a call with much to show
//
// It prints one line of JSON, {"pages": n, "faults": [...], "echo": {...}}: what axe finds, errors of a page, requests to
// elsewhere, pages wider than the window; and how the softphone's call to echo went.
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const [url, key, shots, call] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
mkdirSync(shots, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox', '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream',
    '--allow-loopback-in-peer-connection', '--autoplay-policy=no-user-gesture-required',
  ],
});
const faults = [];
const origin = new URL(url).origin;
let pages = 0;

async function watch(page, name) {
  page.on('pageerror', (e) => faults.push(`${name()}: ${e}`));
  page.on('console', (m) => m.type() === 'error' && faults.push(`${name()}: ${m.text()} ${m.location().url}`));
  page.on('request', (r) => {
    const u = new URL(r.url());
    if (u.protocol.startsWith('http') && u.origin !== origin) faults.push(`${name()}: asks ${r.url()}`);
  });
}

/** Waits until a page shows what it has, looks at it and takes its picture. */
async function look(page, name) {
  await page.waitForFunction(() => !document.body.innerText.includes('Loading…'));
  await page.waitForTimeout(250);
  await page.screenshot({ path: `${shots}/console-${name}.png` });
  pages++;
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  if (wide > 0) faults.push(`${name}: ${wide} px wider than the window`);
  // The page's policy forbids scripts from elsewhere, so axe comes in by the debugger.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  for (const v of violations) faults.push(`${name}: axe ${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => `${n.target} ${n.any[0]?.message ?? n.none[0]?.message ?? ''}`).join(' | ')}`);
}

async function open(theme, width, height) {
  const context = await browser.newContext({ colorScheme: theme, viewport: { width, height }, permissions: ['microphone', 'clipboard-write'] });
  const page = await context.newPage();
  let name = '';
  await watch(page, () => name);
  return { page, context, at: (n) => (name = `${n}-${theme}-${width}`) };
}

const places = [
  ['overview', '#/'], ['calls', '#/calls'], ['calls-none', '#/calls?q=nobody'], ['call-top', `#/calls/${call}`], ['call', `#/calls/${call}`], ['ladder', `#/calls/${call}?tab=ladder`],
  ['quality', `#/calls/${call}?tab=quality`], ['recordings', `#/calls/${call}?tab=recordings`], ['raw', `#/calls/${call}?tab=raw`],
  ['conferences', '#/conferences'], ['events', '#/events'], ['webhooks', '#/webhooks'], ['setup', '#/setup'], ['numbers', '#/setup?tab=numbers'],
  ['trunks', '#/setup?tab=trunks'], ['keys', '#/setup?tab=keys'], ['nodes', '#/nodes'], ['api', '#/api?op=createCall'], ['lost', '#/nowhere'],
];

for (const [theme, width, height] of [['light', 1280, 860], ['dark', 1280, 860], ['light', 375, 740], ['dark', 375, 740]]) {
  const { page, context, at } = await open(theme, width, height);
  await page.goto(url);
  await look(page, at('sign-in'));
  await page.fill('input[type=password]', key);
  await page.click('button[type=submit]');
  await page.waitForSelector('nav');
  for (const [name, hash] of places) {
    await page.evaluate((h) => { location.hash = h; }, hash);
    await page.waitForTimeout(150);
    if (name === 'call-top') await page.waitForSelector('li button[aria-expanded]');
    if (name === 'call') {
      await page.waitForSelector('li button[aria-expanded]');
      await page.locator('li button[aria-expanded]', { hasText: 'INVITE' }).first().click();
    }
    if (name === 'ladder') await page.locator('li button[aria-expanded]', { hasText: '200 OK' }).first().click();
    if (name === 'recordings') {
      await page.click('button:text("Listen")');
      await page.waitForSelector('audio');
      await page.waitForFunction(() => document.querySelector('audio').duration > 0.5);
    }
    await look(page, at(name));
  }
  // Dialogs and the phone.
  await page.evaluate(() => { location.hash = '#/setup'; });
  await page.click('button:text("New application")');
  await look(page, at('application'));
  await page.keyboard.press('Escape');
  await page.click('[data-testid=softphone-open]');
  await look(page, at('softphone'));
  await context.close();
}

// A newcomer: the address has the key, and one press calls echo.
const { page, context, at } = await open('light', 1280, 860);
at('echo');
await page.addInitScript(() => {
  navigator.mediaDevices.getUserMedia = async () => {
    const audio = new AudioContext();
    const tone = new OscillatorNode(audio, { frequency: 620 });
    const out = new MediaStreamAudioDestinationNode(audio);
    tone.connect(out);
    tone.start();
    await audio.resume();
    return out.stream;
  };
  const Peer = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Peer {
    constructor(...args) {
      super(...args);
      this.addEventListener('track', (e) => { window.heard = e.streams[0] ?? new MediaStream([e.track]); });
    }
  };
});
await page.goto(`${url}#key=${key}`);
await page.waitForSelector('nav');
const hidden = !page.url().includes(key);
await page.click('[data-testid=softphone-open]');
await page.fill('[data-testid=softphone-to]', 'echo');
const began = Date.now();
await page.click('[data-testid=softphone-dial]');
await page.waitForFunction(() => document.querySelector('[data-testid=softphone-state]')?.textContent === 'In the call');
const active = Date.now() - began;
const hz = await page.evaluate(async () => {
  const audio = new AudioContext();
  const analyser = new AnalyserNode(audio, { fftSize: 8192, smoothingTimeConstant: 0 });
  audio.createMediaStreamSource(window.heard).connect(analyser);
  await audio.resume();
  const bins = new Float32Array(analyser.frequencyBinCount);
  for (let tries = 0, best = 0; ; tries++) {
    await new Promise((r) => setTimeout(r, 100));
    analyser.getFloatFrequencyData(bins);
    best = bins.indexOf(Math.max(...bins));
    const f = (best * audio.sampleRate) / 8192;
    if (bins[best] > -60 && Math.abs(f - 620) < 20 || tries > 80) return f;
  }
});
await page.click('aside a:text("What happens in this call")');
await page.waitForSelector('li button[aria-expanded]');
const kinds = await page.$$eval('li button[aria-expanded] .kind', (list) => [...new Set(list.map((e) => e.textContent.trim()))]);
await look(page, at('softphone-call'));
await page.click('[data-testid=softphone-hangup]');
await page.waitForFunction(() => document.body.innerText.includes('The call ended'));
const stored = await page.evaluate(() => JSON.stringify([Object.entries({ ...localStorage }), Object.entries({ ...sessionStorage })]));
await context.close();

console.log(JSON.stringify({ pages, faults, echo: { hz, active, kinds, hidden, stored } }));
await browser.close();
