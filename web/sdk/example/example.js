// A whole phone with the SDK. A real page gets its token from its own server: an API key has no place in a browser.
import { Client } from './tipring.js';

const $ = (id) => document.getElementById(id);
const say = (text) => { $('status').textContent = text; };
let client;
let call;

const hash = new URLSearchParams(location.hash.slice(1));
if (hash.has('key')) {
  $('key').value = hash.get('key');
  history.replaceState(null, '', location.pathname);
}

async function token() {
  const answer = await fetch('/v1/tokens', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${$('key').value}` },
    body: JSON.stringify({ identity: $('identity').value, allow_incoming: true, allow_outgoing: ['*'] }),
  });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail ?? body.title);
  return body.token;
}

function show(c) {
  call = c;
  $('call').hidden = false;
  $('accept').hidden = c.direction !== 'in' || c.state !== 'ringing';
  $('quality').textContent = '';
  const state = () => { $('remote').textContent = `${c.remoteName || c.remote}: ${c.state}`; };
  state();
  c.on('state', state);
  c.on('answered', () => { $('accept').hidden = true; });
  c.on('quality', (q) => {
    $('quality').textContent = `${q.codec}, ${q.rttMs.toFixed(0)} ms, loss ${q.lossPct.toFixed(1)} %, MOS ${q.mos.toFixed(1)}`;
  });
  c.on('dtmf', (d) => say(`The other side keyed ${d}.`));
  c.ended.then((r) => {
    say(`The call ended: ${r.cause}.`);
    $('call').hidden = true;
    for (const id of ['mute', 'hold']) $(id).setAttribute('aria-pressed', 'false');
  });
}

async function connect() {
  if (client) return;
  const c = new Client({ token, surviveReload: true });
  c.on('state', (s) => say(s === 'ready' ? `Connected: client:${c.identity} rings here.` : `${s}…`));
  c.on('error', (e) => say(e.message));
  c.on('resumed', (r) => { say('The call goes on.'); show(r); });
  c.on('incoming', (i) => { say(`${i.remote} calls.`); show(i); });
  try {
    await c.connect();
    client = c;
    window.phone = { client, get call() { return call; } }; // for your console
    $('dial').querySelector('button').disabled = false;
  } catch (error) {
    await c.close();
    say(error.message);
    throw error;
  }
}

async function dial(to) {
  try {
    await connect();
    show(await client.call(to));
  } catch (error) {
    say(error.message);
  }
}

$('sign-in').addEventListener('submit', (e) => { e.preventDefault(); connect().catch(() => {}); });
$('dial').addEventListener('submit', (e) => { e.preventDefault(); dial($('to').value.trim()); });
for (const b of document.querySelectorAll('[data-call]')) b.addEventListener('click', () => dial(b.dataset.call));
$('accept').addEventListener('click', () => call.accept().catch((e) => say(e.message)));
$('hangup').addEventListener('click', () => (call.state === 'ringing' && call.direction === 'in' ? call.reject() : call.hangup()));
$('mute').addEventListener('click', () => { call.mute(!call.muted); $('mute').setAttribute('aria-pressed', String(call.muted)); });
$('hold').addEventListener('click', async () => {
  const on = call.state !== 'held';
  await call.hold(on).catch((e) => say(e.message));
  $('hold').setAttribute('aria-pressed', String(on));
});
for (const key of '123456789*0#') {
  const b = document.createElement('button');
  b.type = 'button';
  b.textContent = key;
  b.addEventListener('click', () => call?.sendDigits(key).catch((e) => say(e.message)));
  $('keys').append(b);
}
