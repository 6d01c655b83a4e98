import { Call, IncomingCall, type CallHost } from './call';
import { Emitter } from './emitter';
import { mediaError, TipringError } from './errors';
import type { Reply, ServerEvent, Welcome } from './protocol';
import { Socket } from './socket';

export type ClientState = 'idle' | 'connecting' | 'ready' | 'reconnecting' | 'closed';

export interface ClientOptions {
  /** Where the server is: `https://calls.example.com`, or several. Default: the page's own server. */
  url?: string | readonly string[];
  /** A token of `POST /v1/tokens`, or a function that gets one from your server; it is called at each connection and before the token expires. */
  token: string | (() => Promise<string>);
  /** STUN and TURN servers; default: those that the server names. */
  iceServers?: RTCIceServer[];
  /** Whether calls go on when the page is loaded again: the new page gets them by the event `resumed`. */
  surviveReload?: boolean;
  /** How the microphone is used: `deviceId`, `echoCancellation`, … */
  audio?: MediaTrackConstraints;
  /** For tests, and for where there is no browser. */
  deps?: {
    WebSocket?: typeof WebSocket;
    RTCPeerConnection?: typeof RTCPeerConnection;
    mediaDevices?: Pick<MediaDevices, 'getUserMedia' | 'enumerateDevices'>;
    now?: () => number;
  };
}

export interface CallOptions {
  /** Headers for the application: `X-…`. */
  headers?: Record<string, string>;
  /** Audio of your own in the place of the microphone. */
  track?: MediaStreamTrack;
}

export type ClientEvents = {
  state: [ClientState];
  incoming: [IncomingCall];
  /** A call of before the page was loaded again has audio again. Needs `surviveReload`. */
  resumed: [Call];
  /** The server refused the token, or there was none: sign in again. The client keeps trying. */
  error: [TipringError];
};

interface KeptCall {
  call_id: string;
  resume: string;
  remote: string;
  name: string;
  direction: 'in' | 'out';
}

interface Kept {
  session: string;
  after: number;
  calls: KeptCall[];
}

/** A page's line to a Tipring server. */
export class Client extends Emitter<ClientEvents> {
  state: ClientState = 'idle';
  /** Who this page is; set once connected. */
  identity = '';
  readonly calls = new Set<Call>();

  private socket: Socket | undefined;
  private session = '';
  private kept: KeptCall[] = [];
  private servers: RTCIceServer[] = [];
  private waiting: { resolve: () => void; reject: (e: TipringError) => void }[] = [];
  private renewal: ReturnType<typeof setTimeout> | undefined;
  private speakerId = '';
  private readonly online = () => this.socket?.hurry();
  private readonly host: CallHost;

  /** Makes a client. It opens nothing and needs no browser yet. */
  constructor(private readonly options: ClientOptions) {
    super();
    const client = this;
    this.host = {
      command: (action, fields) => this.command(action, fields),
      send: (frame) => this.socket?.send(frame),
      probe: () => this.socket?.probe(),
      connected: () => this.socket?.ready ?? false,
      iceServers: () => options.iceServers ?? this.servers,
      constraints: () => ({ echoCancellation: true, noiseSuppression: true, autoGainControl: true, ...options.audio }),
      forget: (call) => {
        this.calls.delete(call);
        this.remember();
      },
      remember: () => this.remember(),
      get RTCPeerConnectionClass() {
        return options.deps?.RTCPeerConnection ?? globalThis.RTCPeerConnection;
      },
      get mediaDevices() {
        return client.devices;
      },
      now: () => this.now(),
      speaker: () => this.speakerId,
    };
  }

  /** Keeps what the next page needs to take the calls over, for this tab only. */
  private remember(): void {
    if (!this.options.surviveReload) return;
    const calls = [...this.calls].filter((c) => c.id && c.peerConnection).map((c) => ({ ...c.held(), remote: c.remote, name: c.remoteName, direction: c.direction }));
    try {
      if (calls.length) sessionStorage.setItem('tipring', JSON.stringify({ session: this.session, after: this.socket?.after ?? 0, calls }));
      else sessionStorage.removeItem('tipring');
    } catch {
      // storage that is full or forbidden: a reload ends the calls then
    }
  }

  private recall(): void {
    if (!this.options.surviveReload || this.session) return;
    try {
      const kept = JSON.parse(sessionStorage.getItem('tipring') ?? 'null') as Kept | null;
      if (!kept) return;
      this.session = kept.session;
      if (this.socket) this.socket.after = kept.after;
      this.kept = kept.calls;
    } catch {
      // not ours
    }
  }

  private async revive(k: KeptCall): Promise<void> {
    const call = new Call(this.host, k.direction, k.remote, k.name);
    this.calls.add(call);
    try {
      await call.revive(k.call_id, k.resume);
      this.emit('resumed', call);
    } catch (error) {
      this.emit('error', error instanceof TipringError ? error : new TipringError('unsupported', String(error)));
    }
  }

  private get devices() {
    return this.options.deps?.mediaDevices ?? globalThis.navigator?.mediaDevices;
  }

  private now(): number {
    return this.options.deps?.now?.() ?? performance.now();
  }

  private urls(): string[] {
    const given = this.options.url ?? globalThis.location?.origin ?? '';
    return (typeof given === 'string' ? [given] : [...given]).map((u) => {
      const url = u.replace(/^http/, 'ws').replace(/\/+$/, '');
      return url.endsWith('/rtc') ? url : `${url}/rtc`;
    });
  }

  /** Connects; settles when the server has welcomed the page, fails when it refuses it or does not answer in time. */
  connect({ timeoutMs = 15_000 } = {}): Promise<void> {
    if (this.state === 'closed') return Promise.reject(new TipringError('closed', 'The client is closed.'));
    if (this.state === 'ready') return Promise.resolve();
    const welcomed = new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(new TipringError('timeout', 'The server does not answer.')), timeoutMs);
      this.waiting.push({
        resolve: () => (clearTimeout(timer), resolve()),
        reject: (e) => (clearTimeout(timer), reject(e)),
      });
    });
    if (!this.socket) {
      const WebSocketClass = this.options.deps?.WebSocket ?? globalThis.WebSocket;
      this.socket = new Socket(
        this.urls(),
        {
          hello: async () => ({
            token: await this.token(),
            sdk: '0.1.0',
            ...(this.session && {
              session: this.session,
              after: this.socket?.after ?? 0,
              calls: [...[...this.calls].filter((c) => c.id).map((c) => c.held()), ...this.kept.map((k) => ({ call_id: k.call_id, resume: k.resume }))],
            }),
          }),
          welcomed: (w) => this.welcomed(w),
          event: (e) => this.event(e),
          state: (s) => this.become(s),
          refused: (e) => {
            this.emit('error', e);
            for (const w of this.waiting.splice(0)) w.reject(e);
          },
        },
        WebSocketClass,
        () => this.now(),
      );
      globalThis.addEventListener?.('online', this.online);
      this.recall();
      void this.socket.open();
    }
    return welcomed;
  }

  private async token(): Promise<string> {
    return typeof this.options.token === 'string' ? this.options.token : await this.options.token();
  }

  private welcomed(w: Welcome): void {
    const known = w.session === this.session;
    this.session = w.session;
    this.identity = w.identity;
    this.servers = w.ice_servers;
    if (!known && this.socket) this.socket.after = 0;
    for (const k of this.kept.splice(0)) {
      if (w.calls.some((c) => c.call_id === k.call_id && c.alive)) void this.revive(k);
    }
    for (const c of w.calls) {
      const call = [...this.calls].find((x) => x.id === c.call_id);
      if (!call) continue;
      if (!c.alive) call.end({ cause: 'unavailable', source: 'local' });
      else if (!known) void call.resume();
    }
    for (const x of this.waiting.splice(0)) x.resolve();
    clearTimeout(this.renewal);
    const left = Date.parse(w.expires_at) - Date.now();
    if (typeof this.options.token === 'function') {
      this.renewal = setTimeout(() => void this.renew(), Math.max(1000, left - 60_000));
    }
  }

  private async renew(): Promise<void> {
    try {
      const reply = await this.command('renew', { token: await this.token() });
      const left = Date.parse(reply.expires_at ?? '') - Date.now();
      this.renewal = setTimeout(() => void this.renew(), Math.max(1000, left - 60_000));
    } catch (error) {
      this.emit('error', error instanceof TipringError ? error : new TipringError('token_invalid', String(error)));
    }
  }

  private event(e: ServerEvent): void {
    if (e.type === 'call.incoming') {
      const d = e.data ?? {};
      const call = new IncomingCall(this.host, 'in', String(d.from ?? ''), String(d.from_name ?? ''), (d.headers as Record<string, string>) ?? {});
      call.id = e.call_id;
      call.state = 'ringing';
      call.bind(
        (sdp) => this.command('accept', { call_id: call.id, sdp }),
        (cause) => this.command('reject', { call_id: call.id, cause }),
      );
      this.calls.add(call);
      this.socket?.send({ type: 'command', action: 'ringing', call_id: e.call_id });
      this.emit('incoming', call);
      return;
    }
    for (const call of this.calls) if (call.id === e.call_id) call.handle(e);
  }

  private command(action: string, fields?: Record<string, unknown>): Promise<Reply> {
    if (!this.socket) return Promise.reject(new TipringError('closed', 'The client is not connected: call connect() first.'));
    return this.socket.command(action, fields);
  }

  /** Calls: a number, `sip:…`, `client:name` or `conference:name`. Settles when the call is under way; `call.answered` says when it is taken. */
  async call(to: string, options: CallOptions = {}): Promise<Call> {
    await this.connect();
    const call = new Call(this.host, 'out', to);
    try {
      await call.open(options.track);
      const { pc, sdp } = await call.offer();
      this.calls.add(call);
      await call.take(pc, await this.command('call', { to, sdp, headers: options.headers }));
      return call;
    } catch (error) {
      call.end({ cause: error instanceof TipringError ? error.code : 'unsupported', source: 'local' });
      throw error instanceof TipringError ? error : new TipringError('unsupported', String(error));
    }
  }

  /** The microphones and speakers that there are; names only after the microphone was allowed once. */
  async listDevices(): Promise<{ microphones: MediaDeviceInfo[]; speakers: MediaDeviceInfo[] }> {
    const all = (await this.devices?.enumerateDevices()) ?? [];
    return { microphones: all.filter((d) => d.kind === 'audioinput'), speakers: all.filter((d) => d.kind === 'audiooutput') };
  }

  /** Uses another microphone for all calls, those under way too. */
  async setMicrophone(deviceId: string): Promise<void> {
    this.options.audio = { ...this.options.audio, deviceId };
    for (const call of this.calls) {
      if (!call.peerConnection || !this.devices) continue;
      try {
        const stream = await this.devices.getUserMedia({ audio: this.host.constraints() });
        const track = stream.getAudioTracks()[0];
        if (track) await call.setMicrophone(track);
      } catch (error) {
        throw mediaError(error);
      }
    }
  }

  /** Plays all calls by another device. */
  async setSpeaker(deviceId: string): Promise<void> {
    this.speakerId = deviceId;
    for (const call of this.calls) await call.setSpeaker(deviceId);
  }

  /** Hangs up all calls and closes the line; it cannot be used again. */
  async close(): Promise<void> {
    await Promise.all([...this.calls].map((c) => c.hangup()));
    clearTimeout(this.renewal);
    globalThis.removeEventListener?.('online', this.online);
    this.socket?.close();
    for (const w of this.waiting.splice(0)) w.reject(new TipringError('closed', 'The client is closed.'));
    this.become('closed');
  }

  private become(s: ClientState): void {
    if (this.state === s || this.state === 'closed') return;
    this.state = s;
    this.emit('state', s);
  }
}
