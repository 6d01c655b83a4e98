import { Emitter } from './emitter';
import { mediaError, TipringError } from './errors';
import type { Reply, ServerEvent } from './protocol';
import { compare, readTotals, Warnings, type Quality, type Totals, type Warning } from './quality';

export type CallState = 'new' | 'ringing' | 'early' | 'active' | 'held' | 'reconnecting' | 'ended';

/** How a call ended. */
export interface EndReason {
  /** `normal`, `busy`, `no_answer`, `rejected`, `cancelled`, `answered_elsewhere`, … */
  cause: string;
  /** Who ended it: `caller`, `callee`, `app`, `system`, or `local` when this page lost it. */
  source: string;
  sipStatus?: number;
}

export type CallEvents = {
  state: [CallState];
  answered: [];
  ended: [EndReason];
  /** A key that the other side sent. */
  dtmf: [string];
  /** Once a second. */
  quality: [Quality];
  warning: [Warning, number];
  'warning-cleared': [Warning];
  /** The audio is back after `silenceMs` without it. */
  reconnected: [{ silenceMs: number }];
};

/** What a call needs of its client. */
export interface CallHost {
  command(action: string, fields?: Record<string, unknown>): Promise<Reply>;
  send(frame: Record<string, unknown>): void;
  probe(): void;
  connected(): boolean;
  iceServers(): RTCIceServer[];
  constraints(): MediaTrackConstraints;
  forget(call: Call): void;
  readonly RTCPeerConnectionClass: typeof RTCPeerConnection;
  readonly mediaDevices: Pick<MediaDevices, 'getUserMedia'> | undefined;
  now(): number;
  speaker(): string;
  remember(): void;
}

const statsEvery = 250;

/** A call of this page. */
export class Call extends Emitter<CallEvents> {
  id = '';
  state: CallState = 'new';
  muted = false;
  /** Settles when the call is answered, fails with `ended` when it is over before. */
  readonly answered: Promise<void>;
  /** Settles when the call is over, never fails. */
  readonly ended: Promise<EndReason>;
  /** The element that plays the far end. */
  readonly audio: HTMLAudioElement | undefined;
  peerConnection: RTCPeerConnection | undefined;
  track: MediaStreamTrack | undefined;

  private settleAnswered!: { resolve: () => void; reject: (e: TipringError) => void };
  private settleEnded!: (r: EndReason) => void;
  private candidates: (RTCIceCandidateInit | null)[] = [];
  private resumeToken = '';
  private timer: ReturnType<typeof setInterval> | undefined;
  private last: Totals | undefined;
  private second: Totals | undefined;
  private ticks = 0;
  private stalled = 0;
  private stalledAt = 0;
  private resuming = false;
  private warnings = new Warnings(
    (w, value) => this.emit('warning', w, value),
    (w) => this.emit('warning-cleared', w),
  );

  constructor(
    private readonly host: CallHost,
    readonly direction: 'in' | 'out',
    /** The other side: an address, or what was called. */
    readonly remote: string,
    readonly remoteName = '',
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super();
    this.answered = new Promise((resolve, reject) => (this.settleAnswered = { resolve, reject }));
    this.answered.catch(() => undefined); // whoever waits hears of it
    this.ended = new Promise((resolve) => (this.settleEnded = resolve));
    if (typeof document !== 'undefined') {
      this.audio = document.createElement('audio');
      this.audio.autoplay = true;
    }
  }

  /** Opens the microphone, unless a track is given. */
  async open(track?: MediaStreamTrack): Promise<void> {
    if (track) {
      this.track = track;
      return;
    }
    if (!this.host.mediaDevices) throw mediaError(new Error('no mediaDevices'));
    try {
      const stream = await this.host.mediaDevices.getUserMedia({ audio: this.host.constraints() });
      this.track = stream.getAudioTracks()[0];
    } catch (error) {
      throw mediaError(error);
    }
  }

  /** A new peer connection and its offer. Candidates are sent when the server knows the call. */
  async offer(): Promise<{ pc: RTCPeerConnection; sdp: string }> {
    const pc = new this.host.RTCPeerConnectionClass({ iceServers: this.host.iceServers() });
    this.candidates = [];
    pc.onicecandidate = (e) => this.candidate(pc, e.candidate ? e.candidate.toJSON() : null);
    pc.ontrack = (e) => {
      if (this.audio) this.audio.srcObject = e.streams[0] ?? new MediaStream([e.track]);
    };
    if (this.track) pc.addTrack(this.track, new MediaStream([this.track]));
    else pc.addTransceiver('audio');
    const offer = await pc.createOffer();
    await pc.setLocalDescription(offer);
    return { pc, sdp: offer.sdp ?? '' };
  }

  private candidate(pc: RTCPeerConnection, c: RTCIceCandidateInit | null): void {
    if (pc !== this.peerConnection || !this.id) this.candidates.push(c);
    else this.host.send({ type: 'command', action: 'candidate', call_id: this.id, candidate: c });
  }

  /** Takes the server's answer: the call has its id, and audio begins. */
  async take(pc: RTCPeerConnection, reply: Reply): Promise<void> {
    this.id = reply.call_id ?? this.id;
    this.resumeToken = reply.resume ?? this.resumeToken;
    const old = this.peerConnection;
    this.peerConnection = pc;
    this.host.remember();
    await pc.setRemoteDescription({ type: 'answer', sdp: reply.sdp ?? '' });
    for (const c of this.candidates.splice(0)) this.candidate(pc, c);
    old?.close();
    this.timer ??= setInterval(() => void this.watch(), statsEvery);
    const speaker = this.host.speaker();
    if (speaker) await this.setSpeaker(speaker).catch(() => undefined);
  }

  /** Hangs up, or gives a call up that has not begun. */
  async hangup(): Promise<void> {
    if (this.state === 'ended') return;
    if (this.id) await this.host.command('hangup', { call_id: this.id }).catch(() => undefined);
    this.end({ cause: 'normal', source: this.direction === 'out' ? 'caller' : 'callee' });
  }

  /** Silences the microphone. */
  mute(on = true): void {
    this.muted = on;
    if (this.track) this.track.enabled = !on;
    if (this.id) this.host.send({ type: 'command', action: 'mute', call_id: this.id, on });
  }

  /** Puts the other side on hold, or takes it back. */
  async hold(on = true): Promise<void> {
    await this.host.command('hold', { call_id: this.id, on });
    if (this.track) this.track.enabled = !on && !this.muted;
    this.become(on ? 'held' : 'active');
  }

  /** Sends keys, in the audio (RFC 4733) if the browser can; settles when the last was sent. */
  async sendDigits(digits: string, { durationMs = 100, gapMs = 70 } = {}): Promise<void> {
    if (!/^[0-9*#A-Da-d,]+$/.test(digits)) throw new TipringError('invalid', 'Digits are 0-9, *, #, A-D, and "," for a pause.');
    const sender = this.peerConnection?.getSenders().find((s) => s.track?.kind === 'audio')?.dtmf;
    if (!sender?.canInsertDTMF) {
      await this.host.command('dtmf', { call_id: this.id, digits: digits.replaceAll(',', 'w') });
      return;
    }
    await new Promise<void>((resolve) => {
      const done = (e: RTCDTMFToneChangeEvent) => {
        if (e.tone !== '') return;
        sender.removeEventListener('tonechange', done);
        resolve();
      };
      sender.addEventListener('tonechange', done);
      sender.insertDTMF(sender.toneBuffer + digits, durationMs, gapMs);
    });
  }

  /** Connects the other side with somebody else; this page's call ends. */
  async transfer(to: string): Promise<void> {
    await this.host.command('transfer', { call_id: this.id, to });
  }

  /** Uses another microphone from now on; the other side hears no gap. */
  async setMicrophone(track: MediaStreamTrack): Promise<void> {
    const sender = this.peerConnection?.getSenders().find((s) => s.track?.kind === 'audio');
    track.enabled = !this.muted;
    await sender?.replaceTrack(track);
    this.track?.stop();
    this.track = track;
  }

  /** Plays by another device, where browsers can. */
  async setSpeaker(deviceId: string): Promise<void> {
    const audio = this.audio as (HTMLAudioElement & { setSinkId?: (id: string) => Promise<void> }) | undefined;
    if (!audio?.setSinkId) throw new TipringError('unsupported', 'This browser cannot choose the speaker.');
    await audio.setSinkId(deviceId);
  }

  /** An event of the server about this call. */
  handle(e: ServerEvent): void {
    const data = e.data ?? {};
    switch (e.type) {
      case 'call.ringing':
        if (this.state === 'new') this.become('ringing');
        break;
      case 'call.early':
        if (this.state === 'new' || this.state === 'ringing') this.become('early');
        break;
      case 'call.answered':
        this.activate();
        break;
      case 'call.held':
        this.become('held');
        break;
      case 'call.unheld':
        this.become('active');
        break;
      case 'call.dtmf':
        this.emit('dtmf', String(data.digit));
        break;
      case 'call.ended':
        this.end({ cause: String(data.cause), source: String(data.source), sipStatus: data.sip_status as number | undefined });
        break;
    }
  }

  activate(): void {
    if (this.state === 'ended') return;
    this.become('active');
    this.settleAnswered.resolve();
    this.emit('answered');
  }

  /** The call is over, as far as this page is concerned. */
  end(reason: EndReason): void {
    if (this.state === 'ended') return;
    clearInterval(this.timer);
    this.become('ended');
    this.peerConnection?.close();
    this.track?.stop();
    if (this.audio) this.audio.srcObject = null;
    this.host.forget(this);
    this.settleAnswered.reject(new TipringError('ended', `The call ended before it was answered: ${reason.cause}.`));
    this.settleEnded(reason);
    this.emit('ended', reason);
  }

  private become(s: CallState): void {
    if (this.state === s || this.state === 'ended') return;
    this.state = s;
    this.emit('state', s);
  }

  /** What the page says of its calls when it comes back. */
  held(): { call_id: string; resume: string } {
    return { call_id: this.id, resume: this.resumeToken };
  }

  /** Makes this the call that a page had before it was loaded again, and gives it audio. */
  async revive(id: string, resumeToken: string): Promise<void> {
    this.id = id;
    this.resumeToken = resumeToken;
    this.state = 'reconnecting';
    try {
      await this.open();
    } catch (error) {
      await this.hangup();
      throw error;
    }
    await this.resume();
    this.activate();
  }

  /** Looks at the audio four times a second: the server sends always, so nothing for a second means that the way is dead. */
  private async watch(): Promise<void> {
    const pc = this.peerConnection;
    if (!pc || this.state === 'ended' || this.resuming) return;
    const now = readTotals(await pc.getStats());
    if (pc !== this.peerConnection) return;
    const came = !this.last || now.received > this.last.received;
    this.last = now;
    if (came) {
      if (this.stalled >= 4) this.emit('reconnected', { silenceMs: Math.round(this.host.now() - this.stalledAt) });
      this.stalled = 0;
    } else if (++this.stalled === 1) {
      this.stalledAt = this.host.now();
    } else if (this.stalled === 4) {
      this.host.probe();
    } else if (this.stalled >= 8 && this.stalled % 8 === 0 && this.host.connected()) {
      await this.resume();
    }
    if (++this.ticks % 4 === 0) {
      if (this.second) {
        const q = compare(this.second, now);
        this.emit('quality', q);
        this.warnings.update(q, now.received > this.second.received, this.muted || this.state === 'held');
        if (this.ticks % 20 === 0) {
          this.host.send({
            type: 'command', action: 'stats', call_id: this.id,
            rtt_ms: q.rttMs, jitter_ms: q.jitterMs, loss_pct: q.lossPct, mos: q.mos, codec: q.codec,
          });
        }
      }
      this.second = now;
    }
  }

  /** Gives the call a new peer connection; the old one plays on until the new one has taken its place. */
  async resume(): Promise<void> {
    if (this.resuming || this.state === 'ended' || !this.id) return;
    this.resuming = true;
    const before = this.state;
    this.become('reconnecting');
    try {
      const { pc, sdp } = await this.offer();
      const reply = await this.host.command('resume', { call_id: this.id, resume: this.resumeToken, sdp });
      await this.take(pc, reply);
      this.last = this.second = undefined;
      this.become(before === 'reconnecting' ? 'active' : before);
    } catch (error) {
      if (error instanceof TipringError && !error.retryable) this.end({ cause: error.code, source: 'local' });
    } finally {
      this.resuming = false;
    }
  }
}

/** A call that rings at this page. */
export class IncomingCall extends Call {
  /** Takes the call. Fails with `invalid_state` when another page was faster. */
  async accept(options: { track?: MediaStreamTrack } = {}): Promise<void> {
    try {
      await this.open(options.track);
      const { pc, sdp } = await this.offer();
      await this.take(pc, await this.accepts(sdp));
      this.activate();
    } catch (error) {
      this.track?.stop();
      throw error;
    }
  }

  /** Does not take it. */
  async reject(options: { busy?: boolean } = {}): Promise<void> {
    await this.rejects(options.busy ? 'busy' : 'rejected').catch(() => undefined);
    this.end({ cause: 'rejected', source: 'callee' });
  }

  private accepts!: (sdp: string) => Promise<Reply>;
  private rejects!: (cause: string) => Promise<Reply>;

  /** Ties the call to the commands that it needs. */
  bind(accepts: (sdp: string) => Promise<Reply>, rejects: (cause: string) => Promise<Reply>): this {
    this.accepts = accepts;
    this.rejects = rejects;
    return this;
  }
}
