import document from '../../../openapi.yaml?raw';
import { parse as yaml } from 'yaml';
import { describe, expect, it, vi } from 'vitest';
import { operationsOf } from '../operations';
import { address, ago, bytes, duration, offset, paragraphs, verdict } from '../src/lib/format';
import { arrow, changed, kindName, position, sipTitle, split, ticks } from '../src/lib/timeline';
import type { Entry } from '../src/lib/api';

const at = (ms: number, us = '') => new Date(Date.UTC(2026, 9, 1, 12) + ms).toISOString().replace('Z', `${us}Z`);

describe('format', () => {
  it('says times', () => {
    expect([duration(0), duration(65_000), duration(3_661_000), duration(-5)]).toEqual(['0:00', '1:05', '1:01:01', '0:00']);
    expect([ago(0), ago(12_000), ago(180_000), ago(7_200_000), ago(5 * 86_400_000)]).toEqual(['now', '12 s', '3 min', '2 h', '5 d']);
    expect([offset(1.5), offset(61_250)]).toEqual(['+0.002', '+1:01.250']);
  });
  it('shortens addresses', () => {
    expect(['sip:alice@192.0.2.1:5060;transport=tcp', 'sip:192.0.2.1', 'sips:a@[2001:db8::1]:5061', 'tel:+4930', 'client:bob', undefined].map(address))
      .toEqual(['alice@192.0.2.1', '192.0.2.1', 'a@[2001:db8::1]', '+4930', 'client:bob', 'unknown']);
  });
  it('judges audio', () => {
    expect([verdict(4.4), verdict(3.5), verdict(2), verdict(0), verdict(undefined)]).toEqual(['good', 'fair', 'poor', 'none', 'none']);
    expect([bytes(5), bytes(2048), bytes(3 << 20)]).toEqual(['5 B', '2.0 kB', '3.0 MB']);
  });
  it('parts paragraphs', () => {
    expect(paragraphs('Dials `to` and\nanswers.\n\n| a | b |\n|---|---|\n\n```sh\ncurl x\n```')).toEqual([
      { parts: [{ text: 'Dials ', code: false }, { text: 'to', code: true }, { text: ' and answers.', code: false }] },
      { plain: '| a | b |\n|---|---|' }, { plain: 'curl x' },
    ]);
  });
});

describe('timeline', () => {
  const sip = (direction: 'in' | 'out', message: string): Entry => ({ at: at(0), kind: 'sip', direction, sip: { transport: 'UDP', remote: '192.0.2.1:5060', message } });

  it('names SIP messages', () => {
    expect(sipTitle('INVITE sip:a@b SIP/2.0\r\nCSeq: 1 INVITE\r\n')).toEqual({ title: 'INVITE', method: 'INVITE', status: 0 });
    expect(sipTitle('SIP/2.0 486 Busy Here\r\ncseq : 7 INVITE\r\n')).toEqual({ title: '486 Busy Here', method: 'INVITE', status: 486 });
    expect(kindName(sip('in', ''))).toBe('SIP in');
  });
  it('tells failures from what only looks like one', () => {
    const bad = (message: string) => split([sip('in', message)]).items[0]!.bad;
    expect(bad('SIP/2.0 486 Busy Here\r\n')).toBe(true);
    expect(bad('SIP/2.0 407 Proxy Authentication Required\r\n')).toBe(false);
    expect(bad('SIP/2.0 302 Moved\r\n')).toBe(false);
  });
  it('parts items from samples, and keeps microseconds', () => {
    const { items, samples } = split([
      { at: at(1, '250'), kind: 'command', command: { action: 'start_recording', origin: 'request', error: 'no' } },
      { at: at(2), kind: 'quality', quality: { mos: 4.4 } as never },
      { at: at(3), kind: 'webhook', webhook: { delivery_id: 'd', event_id: 'e', event_type: 'call.ended', url: 'u', attempt: 2, latency_ms: 9, error: 'timeout' } },
    ]);
    expect(items.map((i) => [i.lane, i.title, i.note, i.bad])).toEqual([
      ['commands', 'Start recording', 'no', true], ['webhooks', 'call.ended', 'timeout, try 2', true],
    ]);
    expect(items[0]!.at - Date.parse(at(1))).toBeCloseTo(0.25);
    expect(samples).toHaveLength(1);
  });
  it('draws arrows between far end, Tipring and application', () => {
    const of = (e: Entry) => arrow(split([e]).items[0]!);
    expect(of(sip('in', 'BYE x'))).toEqual({ from: 0, to: 1 });
    expect(of(sip('out', 'BYE x'))).toEqual({ from: 1, to: 0 });
    expect(of({ at: at(0), kind: 'event', direction: 'out' })).toBeUndefined();
  });
  it('makes an axis', () => {
    expect([position(5, 0, 10), position(-1, 0, 10), position(20, 0, 10), position(1, 1, 1)]).toEqual([0.5, 0, 1, 0]);
    expect(ticks(6000)).toEqual([0, 1000, 2000, 3000, 4000, 5000, 6000]);
    expect(ticks(4 * 3_600_000).length).toBeLessThan(8);
  });
  it('marks what is new in a message', () => {
    expect(changed('a\r\nb', 'a\r\nc')).toEqual([{ line: 'a', fresh: false }, { line: 'b', fresh: true }]);
    expect(changed('a', undefined)[0]!.fresh).toBe(false);
  });
});

describe('the page API', () => {
  it('has every operation of the document, with its parameters and a body to begin with', () => {
    const doc = yaml(document);
    const list = operationsOf(doc);
    const methods = Object.values<object>(doc.paths).flatMap((p) => Object.keys(p).filter((k) => /^(get|post|patch|delete)$/.test(k)));
    expect(list).toHaveLength(methods.length);
    const create = list.find((o) => o.id === 'createCall')!;
    expect(JSON.parse(create.body)).toHaveProperty('to');
    const timeline = list.find((o) => o.id === 'getCallTimeline')!;
    expect(timeline.parameters.map((p) => p.name)).toEqual(['call_id', 'kind', 'limit', 'after']);
    expect(timeline.parameters[1]!.values).toContain('sip');
  });
});

describe('live events', () => {
  it('are read however the text is cut', async () => {
    vi.stubGlobal('sessionStorage', { getItem: () => null, setItem() {}, removeItem() {} });
    vi.stubGlobal('localStorage', { getItem: () => null, setItem() {}, removeItem() {} });
    const { SSEReader, soon } = await import('../src/lib/live.svelte');
    const text = ': hello\n\nid: 1\nevent: a\ndata: {"x":\ndata: 1}\n\nid: 2\r\ndata: {}\r\n\r\n';
    for (let n = 1; n < text.length; n += 3) {
      const r = new SSEReader();
      const got = [...r.take(text.slice(0, n)), ...r.take(text.slice(n))];
      expect(got).toEqual([{ id: '1', data: '{"x":\n1}' }, { id: '2', data: '{}' }]);
    }
    vi.useFakeTimers();
    let runs = 0;
    const ask = soon(async () => { runs++; }, 100);
    for (let i = 0; i < 9; i++) ask();
    await vi.advanceTimersByTimeAsync(100);
    expect(runs).toBe(1);
    ask();
    await vi.advanceTimersByTimeAsync(100);
    expect(runs).toBe(2);
    vi.useRealTimers();
  });
});

describe('the address', () => {
  it('names the page', async () => {
    vi.stubGlobal('addEventListener', () => undefined);
    vi.stubGlobal('location', { hash: '' });
    const { parse } = await import('../src/lib/router.svelte');
    const { parts, query } = parse('#/calls/call_%C3%A4?tab=sip&q=a');
    expect(parts).toEqual(['calls', 'call_ä']);
    expect(query.get('tab')).toBe('sip');
    expect(parse('').parts).toEqual([]);
  });
});

describe('the API', () => {
  it('tells problems in words, and a key that is refused signs out', async () => {
    const { read, ApiError } = await import('../src/lib/api');
    const { session } = await import('../src/lib/session.svelte');
    session.signIn('tpk_0123456789abcdef', false);
    const answer = (status: number, error: unknown) => read(Promise.resolve({ error, response: { ok: false, status } as Response }));
    await expect(answer(422, { detail: 'no', code: 'validation_failed', errors: [{ pointer: '/to' }] })).rejects.toMatchObject({ message: 'no', code: 'validation_failed', status: 422 });
    expect(session.key).not.toBe('');
    await expect(answer(401, {})).rejects.toBeInstanceOf(ApiError);
    expect(session.key).toBe('');
    await expect(read(Promise.reject(new TypeError('x')))).rejects.toMatchObject({ code: 'network' });
    await expect(read(Promise.resolve({ data: 7, response: { ok: true } as Response }))).resolves.toBe(7);
  });
});
