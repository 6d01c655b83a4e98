import { Client, type Call, type IncomingCall, type Quality } from '@tipring/sdk';
import { api, read, said } from '../lib/api';
import { session } from '../lib/session.svelte';

/** The softphone of the console: one call at a time, through the SDK that customers use. */
class Phone {
  open = $state(false);
  state = $state<'off' | 'connecting' | 'ready' | 'reconnecting'>('off');
  identity = $state('');
  notice = $state('');
  call = $state.raw<Call | undefined>();
  /** What a call is does not change with the object: this does. */
  callState = $state('');
  remote = $state('');
  muted = $state(false);
  held = $state(false);
  began = $state(0);
  quality = $state.raw<Quality | undefined>();
  warning = $state('');
  microphones = $state.raw<MediaDeviceInfo[]>([]);
  speakers = $state.raw<MediaDeviceInfo[]>([]);
  private client: Client | undefined;

  async connect(identity = this.identity || 'console'): Promise<void> {
    if (this.client) {
      await this.client.connect();
      return;
    }
    this.state = 'connecting';
    this.notice = '';
    const client = new Client({
      token: async () => {
        const body = { identity, allow_incoming: true, allow_outgoing: ['*'] };
        return (await read(api.POST('/v1/tokens', { body }))).token;
      },
    });
    client.on('state', (s) => {
      if (client === this.client) this.state = s === 'ready' ? 'ready' : s === 'closed' ? 'off' : s === 'idle' ? 'connecting' : s;
    });
    client.on('error', (e) => (this.notice = e.message));
    client.on('incoming', (c) => this.ring(c));
    this.client = client;
    try {
      await client.connect();
      this.identity = client.identity;
      this.state = 'ready';
      await this.devices();
    } catch (error) {
      this.notice = said(error);
      await this.disconnect(this.notice);
    }
  }

  async disconnect(notice = ''): Promise<void> {
    const client = this.client;
    this.client = undefined;
    this.state = 'off';
    this.notice = notice;
    await client?.close();
  }

  /** Calls, and opens the phone to show it. */
  async dial(to: string): Promise<void> {
    this.open = true;
    if (!session.key || this.call || !to) return;
    this.notice = '';
    try {
      await this.connect();
      if (!this.client) return;
      this.take(await this.client.call(to));
      await this.devices();
    } catch (error) {
      this.notice = said(error);
    }
  }

  private ring(c: IncomingCall): void {
    if (this.call) {
      void c.reject({ busy: true });
      return;
    }
    this.open = true;
    this.take(c);
  }

  private take(c: Call): void {
    this.call = c;
    this.remote = c.remoteName || c.remote;
    this.callState = c.state;
    this.muted = this.held = false;
    this.began = 0;
    this.quality = undefined;
    this.warning = '';
    c.on('state', (s) => {
      this.callState = s;
      this.held = s === 'held';
      if (s === 'active' && !this.began) this.began = Date.now();
    });
    c.on('quality', (q) => (this.quality = q));
    c.on('warning', (w) => (this.warning = w));
    c.on('warning-cleared', () => (this.warning = ''));
    c.on('dtmf', (d) => (this.notice = `The other side keyed ${d}.`));
    void c.ended.then((r) => {
      if (this.call !== c) return;
      this.call = undefined;
      this.callState = '';
      this.notice = `The call ended: ${r.cause.replaceAll('_', ' ')}.`;
    });
  }

  async answer(): Promise<void> {
    await this.attempt(() => (this.call as IncomingCall).accept());
    await this.devices();
  }

  /** Whether the call rings here and waits to be taken. */
  get rings(): boolean {
    return this.call?.direction === 'in' && this.callState === 'ringing';
  }

  async leave(): Promise<void> {
    await this.attempt(() => (this.rings ? (this.call as IncomingCall).reject() : this.call!.hangup()));
  }

  mute(): void {
    this.call?.mute(!this.muted);
    this.muted = !this.muted;
  }

  async hold(): Promise<void> {
    await this.attempt(() => this.call!.hold(!this.held));
  }

  async key(digit: string): Promise<void> {
    await this.attempt(() => this.call!.sendDigits(digit));
  }

  async transfer(to: string): Promise<void> {
    await this.attempt(() => this.call!.transfer(to));
  }

  async microphone(id: string): Promise<void> {
    await this.attempt(() => this.client!.setMicrophone(id));
  }

  async speaker(id: string): Promise<void> {
    await this.attempt(() => this.client!.setSpeaker(id));
  }

  private async devices(): Promise<void> {
    const d = await this.client?.listDevices().catch(() => undefined);
    this.microphones = d?.microphones.filter((m) => m.deviceId) ?? [];
    this.speakers = d?.speakers.filter((m) => m.deviceId) ?? [];
  }

  private async attempt(f: () => Promise<unknown>): Promise<void> {
    try {
      await f();
    } catch (error) {
      this.notice = said(error);
    }
  }
}

export const phone = new Phone();
