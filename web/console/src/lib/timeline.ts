import type { Entry, Quality } from './api';
import { capital } from './format';

export type Lane = 'signalling' | 'commands' | 'events' | 'webhooks';

/** An entry of a timeline as the page shows it. */
export interface Item {
  id: string;
  entry: Entry;
  at: number; // ms
  lane: Lane;
  title: string;
  note: string;
  bad: boolean;
}

export interface Sample {
  at: number; // ms
  quality: Quality;
}

export const lanes: { id: Lane; name: string }[] = [
  { id: 'signalling', name: 'Signalling' },
  { id: 'commands', name: 'Commands' },
  { id: 'events', name: 'Events' },
  { id: 'webhooks', name: 'Webhooks' },
];

/** What an entry is, in a word, and which way it went. */
export function kindName(e: Entry): string {
  const names: Partial<Record<Entry['kind'], string>> = { sip: 'SIP', page: 'Browser' };
  const name = names[e.kind] ?? capital(e.kind);
  return e.kind === 'sip' || e.kind === 'page' ? `${name} ${e.direction === 'in' ? 'in' : 'out'}` : name;
}

/** "INVITE", or "200 OK" with the method that it answers. */
export function sipTitle(message: string): { title: string; method: string; status: number } {
  const first = message.split(/\r?\n/, 1)[0] ?? '';
  const cseq = /^CSeq\s*:\s*\d+\s+(\S+)/im.exec(message)?.[1] ?? '';
  const response = /^SIP\/2\.0 (\d{3})\s*(.*)$/.exec(first);
  if (response) return { title: `${response[1]} ${response[2]}`.trim(), method: cseq, status: Number(response[1]) };
  return { title: first.split(' ', 1)[0] ?? '', method: cseq, status: 0 };
}

/** Whether a SIP status means that something failed; a challenge for credentials and a redirection do not. */
function sipFailed(status: number): boolean {
  return status >= 400 && ![401, 407, 422, 487, 491].includes(status);
}

function describe(e: Entry): Pick<Item, 'lane' | 'title' | 'note' | 'bad'> {
  switch (e.kind) {
    case 'sip': {
      const s = sipTitle(e.sip?.message ?? '');
      return { lane: 'signalling', title: s.title, note: s.status ? s.method : (e.sip?.remote ?? ''), bad: sipFailed(s.status) };
    }
    case 'page': {
      const frame = e.page?.frame as { status?: string; error?: { detail?: string } } | undefined;
      return { lane: 'signalling', title: e.page?.type ?? '', note: frame?.error?.detail ?? '', bad: frame?.status === 'error' };
    }
    case 'command':
      return {
        lane: 'commands', title: capital(e.command?.action ?? ''), bad: Boolean(e.command?.error),
        note: e.command?.error ?? (e.command?.origin === 'instructions' ? 'from the instructions' : 'by request'),
      };
    case 'webhook': {
      const w = e.webhook;
      const status = w?.status ?? 0;
      const answer = status ? `${status} in ${w?.latency_ms} ms` : (w?.error ?? '');
      return { lane: 'webhooks', title: w?.event_type ?? '', note: (w?.attempt ?? 1) > 1 ? `${answer}, try ${w?.attempt}` : answer, bad: status < 200 || status > 299 };
    }
    default: {
      const type = e.event?.type ?? '';
      return { lane: 'events', title: type, note: eventNote(e), bad: type.endsWith('.failed') };
    }
  }
}

/** What matters in an event, in a few words. */
export function eventNote(e: Entry): string {
  const d = (e.event?.data ?? {}) as Record<string, unknown>;
  for (const key of ['detail', 'digit', 'digits', 'cause', 'reason', 'url', 'with', 'by']) {
    const v = d[key];
    if (typeof v === 'string' && v) return v;
  }
  return '';
}

/** Entries as items and samples, in order of time. */
export function split(entries: readonly Entry[]): { items: Item[]; samples: Sample[] } {
  const items: Item[] = [];
  const samples: Sample[] = [];
  entries.forEach((entry, i) => {
    const at = Date.parse(entry.at) + fraction(entry.at);
    if (entry.kind === 'quality') {
      if (entry.quality) samples.push({ at, quality: entry.quality });
      return;
    }
    items.push({ id: `${i}-${entry.at}`, entry, at, ...describe(entry) });
  });
  return { items, samples };
}

/** What a time has below its millisecond, in ms: Date keeps no microseconds. */
function fraction(at: string): number {
  const digits = /\.\d{3}(\d+)/.exec(at)?.[1];
  return digits ? Number(`0.${digits}`) : 0;
}

/** Where a time stands on an axis, 0 to 1. */
export function position(at: number, from: number, to: number): number {
  return to > from ? Math.min(1, Math.max(0, (at - from) / (to - from))) : 0;
}

/** Round times for an axis of about n steps: their offsets in ms. */
export function ticks(span: number, n = 6): number[] {
  const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000];
  const step = steps.find((s) => span / s <= n) ?? 7_200_000;
  const out = [];
  for (let t = 0; t <= span; t += step) out.push(t);
  return out;
}

/** The columns of the ladder that an item goes from and to; undefined if it is not drawn there. */
export function arrow(item: Item): { from: 0 | 1 | 2; to: 0 | 1 | 2 } | undefined {
  switch (item.lane) {
    case 'signalling':
      return item.entry.direction === 'in' ? { from: 0, to: 1 } : { from: 1, to: 0 };
    case 'webhooks':
      return { from: 1, to: 2 };
    case 'commands':
      return { from: 2, to: 1 };
    default:
      return undefined;
  }
}

/** Marks the lines of a SIP message or a description that are new against the one before. */
export function changed(text: string, before: string | undefined): { line: string; fresh: boolean }[] {
  const old = new Set((before ?? '').split(/\r?\n/));
  return text.split(/\r?\n/).map((line) => ({ line, fresh: before !== undefined && line !== '' && !old.has(line) }));
}
