// A browser that a test steers: commands come as lines of JSON on standard input, answers go as lines to standard output.
//
//   node remote.mjs URL SHOTS     URL is the example page with its key; screenshots go to the folder SHOTS
//
// Each page has a voice of its own: its microphone is an oscillator.
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { chromium } from 'playwright-core';

const [url, shots] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: [
    '--no-sandbox', '--use-fake-device-for-media-stream',
    '--allow-loopback-in-peer-connection', '--autoplay-policy=no-user-gesture-required',
  ],
});
const context = await browser.newContext({ permissions: ['microphone'] });
const strangers = await browser.newContext(); // whose microphone is not allowed
const pages = new Map();

/** The microphone of a page is a tone. */
function voice(hz) {
  navigator.mediaDevices.getUserMedia = async () => {
    const audio = new AudioContext();
    const tone = new OscillatorNode(audio, { frequency: hz });
    const gain = new GainNode(audio, { gain: 0.3 });
    const out = new MediaStreamAudioDestinationNode(audio);
    tone.connect(gain).connect(out);
    tone.start();
    await audio.resume();
    return out.stream;
  };
}

/** What the page hears: the loudest frequency, and how loud. */
async function measure() {
  const stream = window.phone.call.audio.srcObject;
  const audio = (window.ear ??= new AudioContext());
  if (window.heard !== stream) {
    window.heard = stream;
    window.analyser = new AnalyserNode(audio, { fftSize: 8192, smoothingTimeConstant: 0 });
    audio.createMediaStreamSource(stream).connect(window.analyser);
  }
  await audio.resume();
  await new Promise((r) => setTimeout(r, 300));
  const bins = new Float32Array(window.analyser.frequencyBinCount);
  window.analyser.getFloatFrequencyData(bins);
  let best = 0;
  for (let i = 1; i < bins.length; i++) if (bins[i] > bins[best]) best = i;
  return { hz: (best * audio.sampleRate) / 8192, level: bins[best] };
}

const commands = {
  async open({ page, hz, identity, denied }) {
    const p = await (denied ? strangers : context).newPage();
    pages.set(page, p);
    p.errors = [];
    p.on('pageerror', (e) => p.errors.push(String(e)));
    p.on('console', (m) => m.type() === 'error' && p.errors.push(m.text()));
    if (!denied) await p.addInitScript(voice, hz);
    await p.goto(url);
    await p.fill('#identity', identity);
    await p.click('#sign-in button');
    await p.waitForFunction(() => window.phone?.client.state === 'ready');
    return {};
  },
  async dial({ page, to }) {
    const p = pages.get(page);
    await p.fill('#to', to);
    await p.click('#dial button');
    await p.waitForFunction(() => window.phone.call && !document.getElementById('call').hidden);
    await p.evaluate(() => {
      window.keyed = '';
      window.phone.call.on('dtmf', (digit) => { window.keyed += digit; });
    });
    return { id: await p.evaluate(() => window.phone.call.id) };
  },
  async accept({ page }) {
    const p = pages.get(page);
    await p.click('#accept');
    await p.waitForFunction(() => window.phone.call.state === 'active');
    return { remote: await p.evaluate(() => window.phone.call.remote) };
  },
  async hear({ page }) {
    return pages.get(page).evaluate(measure);
  },
  async state({ page }) {
    const p = pages.get(page);
    return { state: await p.evaluate(() => window.phone.call?.state ?? 'none'), client: await p.evaluate(() => window.phone.client.state), text: await p.textContent('#status') };
  },
  async keys({ page, digits }) {
    for (const d of digits) {
      await pages.get(page).click(`#keys button:text-is("${d}")`);
      await new Promise((r) => setTimeout(r, 250));
    }
    return {};
  },
  /** Keys that the other side sent. */
  async keyed({ page }) {
    return { digits: await pages.get(page).evaluate(() => window.keyed) };
  },
  /** A call that cannot begin: what the page says, and what is left of it. */
  async fail({ page, to }) {
    const p = pages.get(page);
    const code = await p.evaluate((to) => window.phone.client.call(to).then(() => 'none', (e) => e.code), to);
    await p.fill('#to', to);
    await p.click('#dial button');
    await p.waitForFunction(() => !document.getElementById('status').textContent.startsWith('Connected'));
    return { code, text: await p.textContent('#status'), calls: await p.evaluate(() => window.phone.client.calls.size) };
  },
  /** How long it takes from the call to audio that comes back, in ms, n times. */
  async hasten({ page, to, n }) {
    return pages.get(page).evaluate(async ({ to, n }) => {
      const times = [];
      for (let i = 0; i < n; i++) {
        const began = performance.now();
        const call = await window.phone.client.call(to);
        for (let heard = false; !heard;) {
          for (const s of (await call.peerConnection.getStats()).values()) heard ||= s.type === 'inbound-rtp' && s.totalAudioEnergy > 1e-4;
          await new Promise((r) => setTimeout(r, 2));
        }
        times.push(performance.now() - began);
        await call.hangup();
      }
      return { times };
    }, { to, n });
  },
  /** What axe finds. */
  async axe({ page }) {
    const p = pages.get(page);
    await p.evaluate(axe);
    const { violations } = await p.evaluate(() => window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
    return { faults: violations.map((v) => `${v.id}: ${v.help}: ${v.nodes[0].target}`) };
  },
  async press({ page, button }) {
    await pages.get(page).click(`#${button}`);
    return {};
  },
  /** The socket breaks, as when a network goes. */
  async cut({ page }) {
    await pages.get(page).evaluate(() => window.phone.client.socket.ws.close());
    return {};
  },
  /** The page is loaded again, as by a reader's F5, and signs in. */
  async reload({ page, identity }) {
    const p = pages.get(page);
    await p.goto('about:blank');
    await p.goto(url);
    await p.fill('#identity', identity);
    await p.click('#sign-in button');
    await p.waitForFunction(() => window.phone?.client.state === 'ready');
    await p.waitForFunction(() => window.phone.call?.state === 'active');
    return {};
  },
  async shot({ page, name }) {
    mkdirSync(shots, { recursive: true });
    await pages.get(page).screenshot({ path: `${shots}/${name}.png` });
    return {};
  },
  async errors({ page }) {
    return { errors: pages.get(page).errors };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...fields } = JSON.parse(line);
  try {
    console.log(JSON.stringify({ ok: true, ...(await commands[command](fields)) }));
  } catch (error) {
    console.log(JSON.stringify({ ok: false, error: String(error) }));
  }
}
await browser.close();
