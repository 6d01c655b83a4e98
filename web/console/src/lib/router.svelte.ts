/** The page is what the address says behind "#": /calls/call_1?tab=sip. */
export function parse(hash: string): { parts: string[]; query: URLSearchParams } {
  const [path = '', query = ''] = hash.replace(/^#/, '').split('?', 2);
  return { parts: path.split('/').filter(Boolean).map(decodeURIComponent), query: new URLSearchParams(query) };
}

class Router {
  parts = $state<string[]>([]);
  query = $state(new URLSearchParams());

  constructor() {
    this.follow();
    addEventListener('hashchange', () => this.follow());
  }

  private follow(): void {
    const { parts, query } = parse(location.hash);
    this.parts = parts;
    this.query = query;
  }

  get page(): string {
    return this.parts[0] ?? '';
  }

  /** Changes a parameter of the address without a step in the history; "" removes it. */
  set(name: string, value: string): void {
    const query = new URLSearchParams(this.query);
    if (value) query.set(name, value);
    else query.delete(name);
    const text = query.toString();
    history.replaceState(null, '', `#/${this.parts.map(encodeURIComponent).join('/')}${text ? `?${text}` : ''}`);
    this.query = query;
  }
}

export const router = new Router();

export function go(path: string): void {
  location.hash = path;
}
