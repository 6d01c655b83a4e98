/** 65_000 ms is "1:05". */
export function duration(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  const two = (n: number) => String(n).padStart(2, '0');
  const [h, m] = [Math.floor(s / 3600), Math.floor(s / 60) % 60];
  return h ? `${h}:${two(m)}:${two(s % 60)}` : `${m}:${two(s % 60)}`;
}

/** How long ago, in short: "now", "12 s", "3 min", "2 h", "5 d". */
export function ago(ms: number): string {
  const s = Math.floor(ms / 1000);
  if (s < 2) return 'now';
  if (s < 90) return `${s} s`;
  if (s < 90 * 60) return `${Math.round(s / 60)} min`;
  if (s < 36 * 3600) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

export function exact(at: string | number): string {
  return new Date(at).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
}

/** "sip:alice@192.0.2.1:5060" is "alice@192.0.2.1", "client:bob" stays. */
export function address(uri: string | undefined): string {
  if (!uri) return 'unknown';
  const m = /^sips?:(?:([^@;]+)@)?(\[[^\]]+\]|[^;:?]+)/.exec(uri);
  if (!m) return uri.replace(/^tel:/, '');
  return m[1] ? `${m[1]}@${m[2]}` : (m[2] ?? uri);
}

export function bytes(n: number): string {
  if (n < 1024) return `${n} B`;
  if (n < 1024 * 1024) return `${(n / 1024).toFixed(1)} kB`;
  return `${(n / 1024 / 1024).toFixed(1)} MB`;
}

/** "+0.123 s" behind the first thing of a call. */
export function offset(ms: number): string {
  if (ms < 60_000) return `+${(ms / 1000).toFixed(3)}`;
  return `+${duration(ms)}.${String(Math.floor(ms) % 1000).padStart(3, '0')}`;
}

export function pretty(v: unknown): string {
  return JSON.stringify(v, null, 2);
}

export type Paragraph = { plain: string; parts?: undefined } | { plain?: undefined; parts: { text: string; code: boolean }[] };

/** The paragraphs of a text in simple Markdown; what stands in backticks is code. Tables and examples stay as they are. */
export function paragraphs(text: string): Paragraph[] {
  const out: Paragraph[] = [];
  let lines: string[] = [];
  let kind: 'text' | 'table' | 'example' = 'text';
  const end = () => {
    if (lines.length) out.push(kind === 'text' ? { parts: inline(lines.map((l) => l.trim()).join(' ')) } : { plain: lines.join('\n') });
    lines = [];
    kind = 'text';
  };
  for (const line of text.split('\n')) {
    const fence = line.startsWith('```');
    if (kind === 'example') {
      if (fence) end();
      else lines.push(line);
      continue;
    }
    const table = line.startsWith('|');
    if (fence || !line.trim() || table !== (kind === 'table')) end();
    if (fence) kind = 'example';
    else if (line.trim()) lines.push(line);
    if (table) kind = 'table';
  }
  end();
  return out;
}

/** Links give their text, what stands between backticks is code. */
function inline(line: string): { text: string; code: boolean }[] {
  const plain = line.replaceAll(/\[([^\]]+)\]\([^)]+\)/g, '$1').replaceAll('**', '');
  return plain.split('`').map((text, i) => ({ text, code: i % 2 === 1 })).filter((p) => p.text);
}

/** What a mean opinion score means. */
export function verdict(mos: number | undefined): 'good' | 'fair' | 'poor' | 'none' {
  if (!mos) return 'none';
  if (mos >= 4) return 'good';
  return mos >= 3.4 ? 'fair' : 'poor';
}

export function capital(s: string): string {
  return s.charAt(0).toUpperCase() + s.slice(1).replaceAll('_', ' ');
}
