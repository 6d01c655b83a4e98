import { TipringError } from './errors';
import type { Reply, ServerEvent, ServerFrame, Welcome } from './protocol';

/** What the socket needs of its client. */
export interface SocketOwner {
  hello(): Promise<Record<string, unknown>>;
  welcomed(w: Welcome): void;
  event(e: ServerEvent): void;
  state(s: 'connecting' | 'ready' | 'reconnecting'): void;
  refused(e: TipringError): void;
}

interface Pending {
  frame: Record<string, unknown>;
  settle: (r: Reply | TipringError) => void;
  timer: ReturnType<typeof setTimeout>;
}

const commandTimeout = 10_000;
const fatal = new Set(['token_invalid', 'token_expired', 'forbidden']);

/** The socket to /rtc: it reconnects by itself, and commands wait for it. */
export class Socket {
  private ws?: WebSocket;
  private pending = new Map<string, Pending>();
  private serial = 0;
  private tries = 0;
  private closed = false;
  private retry?: ReturnType<typeof setTimeout>;
  private beat?: ReturnType<typeof setInterval>;
  private heard = 0;
  ready = false;

  constructor(
    private readonly urls: readonly string[],
    private readonly owner: SocketOwner,
    private readonly WebSocketClass: typeof WebSocket,
    private readonly now: () => number,
  ) {}

  /** Opens the socket; the owner is told how that goes. */
  async open(): Promise<void> {
    if (this.closed || this.ws) return;
    this.owner.state(this.tries === 0 ? 'connecting' : 'reconnecting');
    let hello: Record<string, unknown>;
    try {
      hello = await this.owner.hello();
    } catch (error) {
      this.owner.refused(new TipringError('token_invalid', `There is no token: ${String(error)}`));
      this.again();
      return;
    }
    if (this.closed || this.ws) return;
    const url = this.urls[this.tries % this.urls.length] as string;
    const ws = new this.WebSocketClass(url, 'tipring.v1');
    this.ws = ws;
    const lost = () => this.drop(ws);
    ws.onopen = () => ws.send(JSON.stringify({ type: 'hello', ...hello }));
    ws.onclose = lost;
    ws.onerror = lost;
    ws.onmessage = (m) => this.frame(ws, JSON.parse(String(m.data)) as ServerFrame);
  }

  private frame(ws: WebSocket, f: ServerFrame): void {
    if (ws !== this.ws) return;
    this.heard = this.now();
    switch (f.type) {
      case 'welcome':
        this.tries = 0;
        this.ready = true;
        this.owner.welcomed(f);
        this.owner.state('ready');
        for (const p of this.pending.values()) this.send(p.frame);
        this.watch(f.heartbeat_s * 1000);
        break;
      case 'reply': {
        const p = this.pending.get(f.command_id);
        if (!p) break;
        this.pending.delete(f.command_id);
        clearTimeout(p.timer);
        p.settle(f.status === 'accepted' ? f : new TipringError(f.error?.code ?? 'internal', f.error?.detail ?? 'The server refused.'));
        break;
      }
      case 'event':
        this.after = f.sequence;
        this.owner.event(f.event);
        break;
      case 'error': {
        const e = new TipringError(f.error.code, f.error.detail);
        if (!this.ready && fatal.has(e.code)) this.owner.refused(e);
        break;
      }
      case 'ping':
        this.send({ type: 'pong' });
        break;
    }
  }

  /** The sequence of the last event. */
  after = 0;

  /** Sends a command and waits for its reply, across reconnections. */
  command(action: string, fields: Record<string, unknown> = {}): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (this.closed) {
        reject(new TipringError('closed', 'The client is closed.'));
        return;
      }
      const id = `${this.now().toString(36)}-${++this.serial}`;
      const frame = { type: 'command', command_id: id, action, ...fields };
      const settle = (r: Reply | TipringError) => (r instanceof TipringError ? reject(r) : resolve(r));
      const timer = setTimeout(() => {
        this.pending.delete(id);
        reject(new TipringError('timeout', `The server has not answered "${action}" for ${commandTimeout / 1000} seconds.`));
      }, commandTimeout);
      this.pending.set(id, { frame, settle, timer });
      if (this.ready) this.send(frame);
    });
  }

  /** Sends a frame that needs no reply, if there is a connection. */
  send(frame: Record<string, unknown>): void {
    if (this.ws?.readyState === 1) this.ws.send(JSON.stringify(frame));
  }

  private watch(every: number): void {
    clearInterval(this.beat);
    const ws = this.ws;
    this.beat = setInterval(() => {
      if (this.now() - this.heard > 2.5 * every && ws) this.drop(ws);
      else this.send({ type: 'ping' });
    }, every);
  }

  /** Finds out now whether the connection lives: a dead one is replaced without waiting for its end. */
  probe(within = 500): void {
    const ws = this.ws;
    if (!ws || !this.ready) return;
    const before = this.heard;
    this.send({ type: 'ping' });
    setTimeout(() => {
      if (this.heard === before && ws === this.ws) this.drop(ws);
    }, within);
  }

  private drop(ws: WebSocket): void {
    if (ws !== this.ws) return;
    this.ws = undefined;
    this.ready = false;
    clearInterval(this.beat);
    ws.onclose = ws.onerror = ws.onmessage = null;
    ws.close();
    if (!this.closed) this.again();
  }

  private again(): void {
    const wait = this.tries === 0 ? Math.random() * 100 : Math.min(5000, 200 * 2 ** Math.min(this.tries, 5)) * (0.5 + Math.random() / 2);
    this.tries++;
    this.owner.state('reconnecting');
    clearTimeout(this.retry);
    this.retry = setTimeout(() => void this.open(), wait);
  }

  /** Tries at once: the network has come back. */
  hurry(): void {
    if (!this.ws && !this.closed && this.retry) {
      clearTimeout(this.retry);
      void this.open();
    } else {
      this.probe();
    }
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.retry);
    clearInterval(this.beat);
    const ws = this.ws;
    this.ws = undefined;
    this.ready = false;
    if (ws) {
      ws.onclose = ws.onerror = ws.onmessage = null;
      ws.close(1000);
    }
    for (const p of this.pending.values()) {
      clearTimeout(p.timer);
      p.settle(new TipringError('closed', 'The client is closed.'));
    }
    this.pending.clear();
  }
}
