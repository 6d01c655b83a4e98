/** Figures of a call's audio, as this page sees it. */
export interface Quality {
  /** Round trip in milliseconds; 0 if unknown. */
  rttMs: number;
  jitterMs: number;
  /** Of what this page received in the last seconds. */
  lossPct: number;
  /** Estimate of the E-model, 1 to 4.5. */
  mos: number;
  codec: string;
  /** Loudness of the microphone and of the far end, 0 to 1. */
  levelIn: number;
  levelOut: number;
}

/** What is wrong with a call's audio. Each is told once when it begins, and once when it is over. */
export type Warning = 'high-rtt' | 'high-jitter' | 'high-loss' | 'low-mos' | 'no-inbound-audio' | 'silent-microphone';

/** The totals of the statistics that a browser gives. */
export interface Totals {
  received: number;
  lost: number;
  jitter: number;
  rtt: number;
  levelIn: number;
  levelOut: number;
  codec: string;
}

/** Reads getStats of a peer connection. */
export function readTotals(report: RTCStatsReport): Totals {
  const t: Totals = { received: 0, lost: 0, jitter: 0, rtt: 0, levelIn: 0, levelOut: 0, codec: '' };
  report.forEach((s) => {
    if (s.type === 'inbound-rtp' && s.kind === 'audio') {
      t.received = s.packetsReceived ?? 0;
      t.lost = Math.max(0, s.packetsLost ?? 0);
      t.jitter = s.jitter ?? 0;
      t.levelOut = s.audioLevel ?? 0;
      const codec = report.get(s.codecId ?? '') as { mimeType?: string } | undefined;
      t.codec = codec?.mimeType?.replace('audio/', '') ?? '';
    } else if (s.type === 'candidate-pair' && s.nominated && s.state === 'succeeded') {
      t.rtt = s.currentRoundTripTime ?? 0;
    } else if (s.type === 'media-source' && s.kind === 'audio') {
      t.levelIn = s.audioLevel ?? 0;
    }
  });
  return t;
}

/** The E-model (ITU-T G.107) for a loss in percent, with concealment, and a one-way delay in milliseconds. */
export function meanOpinion(lossPct: number, delayMs: number): number {
  let r = 93.2 - 0.024 * delayMs - (95 * lossPct) / (lossPct + 25.1);
  if (delayMs > 177.3) r -= 0.11 * (delayMs - 177.3);
  if (r <= 0) return 1;
  return Math.min(4.5, Math.max(1, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6));
}

/** What two readings say of the time between them. */
export function compare(before: Totals, now: Totals): Quality {
  const received = Math.max(0, now.received - before.received);
  const lost = Math.max(0, now.lost - before.lost);
  const lossPct = received + lost > 0 ? (100 * lost) / (received + lost) : 0;
  const rttMs = now.rtt * 1000;
  const jitterMs = now.jitter * 1000;
  return {
    rttMs,
    jitterMs,
    lossPct,
    mos: meanOpinion(lossPct, rttMs / 2 + 2 * jitterMs + 20),
    codec: now.codec,
    levelIn: now.levelIn,
    levelOut: now.levelOut,
  };
}

/** Which warnings hold, from the figures and whether any packet came. Each has to hold, or not to, for some readings in a row. */
export class Warnings {
  private counts = new Map<Warning, number>();
  private active = new Set<Warning>();

  constructor(
    private readonly began: (w: Warning, value: number) => void,
    private readonly ended: (w: Warning) => void,
    private readonly patience = 3,
  ) {}

  update(q: Quality, received: boolean, muted: boolean): void {
    this.judge('high-rtt', q.rttMs > 400, q.rttMs);
    this.judge('high-jitter', q.jitterMs > 30, q.jitterMs);
    this.judge('high-loss', q.lossPct > 3, q.lossPct);
    this.judge('low-mos', q.mos < 3 && received, q.mos);
    this.judge('no-inbound-audio', !received, 0);
    this.judge('silent-microphone', !muted && q.levelIn === 0, 0);
  }

  private judge(w: Warning, bad: boolean, value: number): void {
    const n = bad === this.active.has(w) ? 0 : (this.counts.get(w) ?? 0) + 1;
    this.counts.set(w, n);
    if (n < this.patience) return;
    this.counts.set(w, 0);
    if (bad) {
      this.active.add(w);
      this.began(w, value);
    } else {
      this.active.delete(w);
      this.ended(w);
    }
  }
}
