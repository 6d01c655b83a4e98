import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Client, TipringError, type IncomingCall } from '../src/index';
import { compare, meanOpinion, Warnings, type Warning } from '../src/quality';

type Frame = Record<string, any>;

/** A socket in the test's hands: what the client sends is in `sent`. */
class FakeSocket {
  static all: FakeSocket[] = [];
  readyState = 0;
  sent: Frame[] = [];
  onopen?: () => void;
  onclose?: () => void;
  onerror?: () => void;
  onmessage?: (m: { data: string }) => void;

  constructor(readonly url: string) {
    FakeSocket.all.push(this);
  }
  send(s: string) {
    this.sent.push(JSON.parse(s));
  }
  close() {
    this.readyState = 3;
  }
  open() {
    this.readyState = 1;
    this.onopen?.();
  }
  say(f: Frame) {
    this.onmessage?.({ data: JSON.stringify(f) });
  }
  lose() {
    this.readyState = 3;
    this.onclose?.();
  }
  welcome(more: Frame = {}) {
    this.say({
      type: 'welcome', session: 's1', identity: 'alice', expires_at: new Date(Date.now() + 600_000).toISOString(), heartbeat_s: 5,
      incoming: true, outgoing: ['*'], ice_servers: [], nodes: [], calls: [], ...more,
    });
  }
  last(action: string): Frame {
    const f = [...this.sent].reverse().find((x) => x.action === action);
    if (!f) throw new Error(`no ${action} was sent`);
    return f;
  }
  accept(action: string, more: Frame = {}) {
    this.say({ type: 'reply', command_id: this.last(action).command_id, status: 'accepted', ...more });
  }
}

/** A peer connection that counts packets as the test says. */
class FakePeer {
  static all: FakePeer[] = [];
  static received = 0;
  closed = false;
  onicecandidate?: (e: { candidate: null }) => void;
  constructor() {
    FakePeer.all.push(this);
  }
  addTrack() {}
  addTransceiver() {}
  getSenders() {
    return [];
  }
  createOffer() {
    return Promise.resolve({ type: 'offer', sdp: `offer-${FakePeer.all.length}` });
  }
  setLocalDescription() {
    return Promise.resolve();
  }
  setRemoteDescription() {
    return Promise.resolve();
  }
  getStats() {
    return Promise.resolve(new Map([['a', { type: 'inbound-rtp', kind: 'audio', packetsReceived: FakePeer.received, packetsLost: 0, jitter: 0 }]]));
  }
  close() {
    this.closed = true;
  }
}

const track = { kind: 'audio', enabled: true, stop: vi.fn() };
let getUserMedia: () => Promise<unknown>;

function client(token: string | (() => Promise<string>) = 'tok', surviveReload = false) {
  return new Client({
    surviveReload,
    url: 'https://calls.example.com',
    token,
    deps: {
      WebSocket: FakeSocket as never,
      RTCPeerConnection: FakePeer as never,
      mediaDevices: { getUserMedia: () => getUserMedia(), enumerateDevices: () => Promise.resolve([]) } as never,
      now: () => Date.now(),
    },
  });
}

const settle = () => vi.advanceTimersByTimeAsync(0);
const socket = () => FakeSocket.all.at(-1) as FakeSocket;

async function connected(token?: () => Promise<string>) {
  const c = client(token);
  const p = c.connect();
  await settle();
  socket().open();
  socket().welcome();
  await p;
  return c;
}

async function called(c: Client) {
  const p = c.call('echo');
  await settle();
  socket().accept('call', { call_id: 'call_1', sdp: 'answer', resume: 'r1' });
  return p;
}

beforeEach(() => {
  vi.useFakeTimers();
  FakeSocket.all = [];
  FakePeer.all = [];
  FakePeer.received = 0;
  track.enabled = true;
  getUserMedia = () => Promise.resolve({ getAudioTracks: () => [track] });
  vi.stubGlobal('MediaStream', class {});
  vi.stubGlobal('isSecureContext', true);
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('the line', () => {
  test('says hello with its token and is welcomed', async () => {
    const c = await connected();
    expect(socket().url).toBe('wss://calls.example.com/rtc');
    expect(socket().sent[0]).toMatchObject({ type: 'hello', token: 'tok' });
    expect(c.state).toBe('ready');
    expect(c.identity).toBe('alice');
  });

  test('connect fails, and never hangs', async () => {
    const c = client();
    const p = c.connect();
    const failed = expect(p).rejects.toMatchObject({ code: 'token_expired' });
    await settle();
    socket().open();
    socket().say({ type: 'error', error: { code: 'token_expired', title: '', detail: 'old' } });
    await failed;
    const silent = client();
    const late = expect(silent.connect({ timeoutMs: 1000 })).rejects.toMatchObject({ code: 'timeout', retryable: true });
    await vi.advanceTimersByTimeAsync(1001);
    await late;
  });

  test('comes back with its session, and a command waits for it', async () => {
    const c = await connected();
    socket().say({ type: 'event', sequence: 7, event: { type: 'x', call_id: '', data: null } });
    const call = await called(c);
    socket().lose();
    expect(c.state).toBe('reconnecting');
    const held = call.hold();
    await vi.advanceTimersByTimeAsync(200);
    socket().open();
    expect(socket().sent[0]).toMatchObject({ session: 's1', after: 7, calls: [{ call_id: 'call_1', resume: 'r1' }] });
    socket().welcome({ calls: [{ call_id: 'call_1', alive: true }] });
    socket().accept('hold');
    await held;
    expect(call.state).toBe('held');
    expect(FakePeer.all.length).toBe(1); // the audio was never cut
  });

  test('a silent server is left for another connection', async () => {
    const c = await connected();
    const first = socket();
    await vi.advanceTimersByTimeAsync(15_001);
    expect(first.readyState).toBe(3);
    expect(c.state).not.toBe('ready');
  });

  test('renews its token before it expires', async () => {
    let n = 0;
    await connected(() => Promise.resolve(`tok${++n}`));
    await vi.advanceTimersByTimeAsync(1000);
    for (let s = 0; s < 545; s += 5) {
      await vi.advanceTimersByTimeAsync(5000);
      socket().say({ type: 'pong' });
    }
    expect(socket().last('renew').token).toBe('tok2');
  });
});

describe('a call', () => {
  test('rings, is answered, and ends', async () => {
    const call = await called(await connected());
    const states: string[] = [];
    call.on('state', (s) => states.push(s));
    expect(socket().last('call')).toMatchObject({ to: 'echo', sdp: 'offer-1' });
    for (const type of ['call.ringing', 'call.answered']) socket().say({ type: 'event', sequence: 1, event: { type, call_id: 'call_1', data: null } });
    await call.answered;
    socket().say({ type: 'event', sequence: 3, event: { type: 'call.ended', call_id: 'call_1', data: { cause: 'busy', source: 'callee', sip_status: 486 } } });
    expect(await call.ended).toEqual({ cause: 'busy', source: 'callee', sipStatus: 486 });
    expect(states).toEqual(['ringing', 'active', 'ended']);
    expect(FakePeer.all[0]?.closed).toBe(true);
  });

  test('refused: the promise fails with the code of the server', async () => {
    const p = (await connected()).call('+4930');
    const failed = expect(p).rejects.toMatchObject({ code: 'forbidden' });
    await settle();
    socket().say({ type: 'reply', command_id: socket().last('call').command_id, status: 'error', error: { code: 'forbidden', title: '', detail: 'no' } });
    await failed;
  });

  test('without a microphone: a clear error', async () => {
    const c = await connected();
    getUserMedia = () => Promise.reject(Object.assign(new Error('x'), { name: 'NotAllowedError' }));
    await expect(c.call('echo')).rejects.toMatchObject({ code: 'microphone_denied' });
    getUserMedia = () => Promise.reject(Object.assign(new Error('x'), { name: 'NotFoundError' }));
    await expect(c.call('echo')).rejects.toMatchObject({ code: 'microphone_missing' });
    vi.stubGlobal('isSecureContext', false);
    await expect(c.call('echo')).rejects.toMatchObject({ code: 'insecure_context' });
    expect(c.calls.size).toBe(0);
  });

  test('ended before the answer: answered fails', async () => {
    const call = await called(await connected());
    socket().say({ type: 'event', sequence: 1, event: { type: 'call.ended', call_id: 'call_1', data: { cause: 'no_answer', source: 'system' } } });
    await expect(call.answered).rejects.toBeInstanceOf(TipringError);
  });

  test('an incoming call is accepted, or lost to another page', async () => {
    const c = await connected();
    const calls: IncomingCall[] = [];
    c.on('incoming', (i) => calls.push(i));
    socket().say({ type: 'event', sequence: 1, event: { type: 'call.incoming', call_id: 'call_9', data: { from: 'sip:bob@x', from_name: 'Bob', headers: {} } } });
    const call = calls[0] as IncomingCall;
    expect(call.remoteName).toBe('Bob');
    expect(socket().last('ringing').call_id).toBe('call_9');
    const p = call.accept();
    await settle();
    socket().accept('accept', { call_id: 'call_9', sdp: 'answer', resume: 'r' });
    await p;
    expect(call.state).toBe('active');
    socket().say({ type: 'event', sequence: 2, event: { type: 'call.incoming', call_id: 'call_8', data: { from: 'x' } } });
    socket().say({ type: 'event', sequence: 3, event: { type: 'call.ended', call_id: 'call_8', data: { cause: 'answered_elsewhere', source: 'callee' } } });
    expect((await calls[1]?.ended)?.cause).toBe('answered_elsewhere');
  });

  test('no audio for two seconds: a new peer connection, and the call goes on', async () => {
    const call = await called(await connected());
    call.activate();
    const gaps: number[] = [];
    call.on('reconnected', (r) => gaps.push(r.silenceMs));
    for (let i = 0; i < 8; i++) {
      FakePeer.received += 12;
      await vi.advanceTimersByTimeAsync(250);
    }
    for (let i = 0; i < 10; i++) {
      await vi.advanceTimersByTimeAsync(250);
      socket().say({ type: 'pong' });
    }
    expect(socket().last('resume')).toMatchObject({ call_id: 'call_1', resume: 'r1', sdp: 'offer-2' });
    expect(call.state).toBe('reconnecting');
    socket().accept('resume', { call_id: 'call_1', sdp: 'answer', resume: 'r2' });
    for (let i = 0; i < 4; i++) {
      FakePeer.received += 12;
      await vi.advanceTimersByTimeAsync(250);
    }
    expect(call.state).toBe('active');
    expect(FakePeer.all[0]?.closed).toBe(true);
    expect(gaps[0]).toBeGreaterThan(1000);
  });

  test('mute and close', async () => {
    const c = await connected();
    const call = await called(c);
    call.mute();
    expect(track.enabled).toBe(false);
    call.mute(false);
    expect(track.enabled).toBe(true);
    const closed = c.close();
    await settle();
    socket().accept('hangup');
    await closed;
    expect(call.state).toBe('ended');
    await expect(c.call('echo')).rejects.toMatchObject({ code: 'closed' });
  });
});

test('a page that is loaded again takes its calls over', async () => {
  const store = new Map<string, string>();
  vi.stubGlobal('sessionStorage', {
    getItem: (k: string) => store.get(k) ?? null,
    setItem: (k: string, v: string) => void store.set(k, v),
    removeItem: (k: string) => void store.delete(k),
  });
  const before = client('tok', true);
  const first = before.connect();
  await settle();
  socket().open();
  socket().welcome();
  await first;
  await called(before);
  expect(JSON.parse(store.get('tipring') ?? '')).toMatchObject({ session: 's1', calls: [{ call_id: 'call_1', resume: 'r1', remote: 'echo' }] });

  const after = client('tok', true);
  const resumed: string[] = [];
  after.on('resumed', (c) => resumed.push(`${c.id} ${c.remote} ${c.state}`));
  const second = after.connect();
  await settle();
  socket().open();
  expect(socket().sent[0]).toMatchObject({ session: 's1', calls: [{ call_id: 'call_1', resume: 'r1' }] });
  socket().welcome({ calls: [{ call_id: 'call_1', alive: true }] });
  await second;
  await settle();
  socket().accept('resume', { call_id: 'call_1', sdp: 'answer', resume: 'r2' });
  await settle();
  expect(resumed).toEqual(['call_1 echo active']);
  socket().say({ type: 'event', sequence: 9, event: { type: 'call.ended', call_id: 'call_1', data: { cause: 'normal', source: 'callee' } } });
  expect(store.has('tipring')).toBe(false);
});

describe('quality', () => {
  test('the E-model', () => {
    expect(meanOpinion(0, 0)).toBeCloseTo(4.41, 1);
    expect(meanOpinion(100, 0)).toBeLessThan(2);
    expect(meanOpinion(5, 50)).toBeLessThan(meanOpinion(1, 50));
  });

  test('two readings say what was lost between them', () => {
    const t = { received: 100, lost: 10, jitter: 0.01, rtt: 0.1, levelIn: 0, levelOut: 0, codec: 'opus' };
    expect(compare(t, { ...t, received: 190, lost: 20 })).toMatchObject({ lossPct: 10, rttMs: 100, jitterMs: 10 });
  });

  test('a warning needs patience to begin and to end', () => {
    const began: Warning[] = [];
    const ended: Warning[] = [];
    const w = new Warnings((x) => began.push(x), (x) => ended.push(x));
    const q = { rttMs: 0, jitterMs: 0, lossPct: 9, mos: 4, codec: '', levelIn: 1, levelOut: 0 };
    w.update(q, true, false);
    w.update(q, true, false);
    expect(began).toEqual([]);
    w.update(q, true, false);
    expect(began).toEqual(['high-loss']);
    for (let i = 0; i < 3; i++) w.update({ ...q, lossPct: 0 }, true, false);
    expect(ended).toEqual(['high-loss']);
  });
});
