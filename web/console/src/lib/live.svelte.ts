import type { CallEvent } from './api';
import { session } from './session.svelte';

type Listener = (e: CallEvent) => void;

/** Reads Server-Sent Events from text as it comes; gives each event's id and data. */
export class SSEReader {
  private rest = '';

  /** Takes text and returns the events that are complete. */
  take(text: string): { id: string; data: string }[] {
    this.rest += text;
    const blocks = this.rest.split(/\r?\n\r?\n/);
    this.rest = blocks.pop() ?? '';
    const out = [];
    for (const block of blocks) {
      let id = '';
      const data = [];
      for (const line of block.split(/\r?\n/)) {
        const at = line.indexOf(':');
        const name = at < 0 ? line : line.slice(0, at);
        const value = at < 0 ? '' : line.slice(at + 1).replace(/^ /, '');
        if (name === 'id') id = value;
        if (name === 'data') data.push(value);
      }
      if (data.length) out.push({ id, data: data.join('\n') });
    }
    return out;
  }
}

/** All events of the project as they happen, over one connection that comes back by itself. */
class Live {
  state = $state<'off' | 'connecting' | 'on' | 'lost'>('off');
  private listeners = new Set<Listener>();
  private stopped: AbortController | undefined;

  /** Tells f every event until the function that is returned is called. */
  on(f: Listener): () => void {
    this.listeners.add(f);
    if (!this.stopped) void this.run((this.stopped = new AbortController()));
    return () => {
      this.listeners.delete(f);
      if (this.listeners.size === 0) this.stop();
    };
  }

  private stop(): void {
    this.stopped?.abort();
    this.stopped = undefined;
    this.state = 'off';
  }

  private async run(stop: AbortController): Promise<void> {
    let last = '';
    for (let wait = 500; !stop.signal.aborted && session.key; wait = Math.min(wait * 2, 8000)) {
      this.state = last ? 'lost' : 'connecting';
      try {
        const headers: Record<string, string> = { Accept: 'text/event-stream', Authorization: `Bearer ${session.key}` };
        if (last) headers['Last-Event-ID'] = last;
        const answer = await fetch('/v1/events', { headers, signal: stop.signal });
        if (answer.status === 401 || answer.status === 403) return;
        if (!answer.ok || !answer.body) throw new Error(String(answer.status));
        this.state = 'on';
        wait = 250;
        const reader = new SSEReader();
        for await (const text of answer.body.pipeThrough(new TextDecoderStream())) {
          for (const e of reader.take(text)) {
            last = e.id || last;
            this.tell(JSON.parse(e.data) as CallEvent);
          }
        }
      } catch {
        if (stop.signal.aborted) return;
        this.state = 'lost';
      }
      await new Promise((r) => setTimeout(r, wait));
    }
  }

  private tell(e: CallEvent): void {
    for (const f of [...this.listeners]) f(e);
  }
}

export const live = new Live();

/** A function that runs f soon, and once for many calls; what comes while f runs makes it run again. */
export function soon(f: () => Promise<void>, ms = 300): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let running = false;
  let again = false;
  const run = async () => {
    timer = undefined;
    running = true;
    await f().catch(() => undefined);
    running = false;
    if (again) {
      again = false;
      ask();
    }
  };
  const ask = () => {
    if (running) again = true;
    else timer ??= setTimeout(run, ms);
  };
  return ask;
}
