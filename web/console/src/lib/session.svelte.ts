/** The API key of whoever is signed in: for this tab, or kept in this browser. Nothing else is stored. */
const name = 'tipring.key';

function stored(): string {
  return sessionStorage.getItem(name) ?? localStorage.getItem(name) ?? '';
}

class Session {
  key = $state(stored());
  /** Why the last one was signed out. */
  notice = $state('');
  scopes = $state<readonly string[]>([]);
  version = $state('');

  signIn(key: string, keep: boolean): void {
    this.signOut();
    (keep ? localStorage : sessionStorage).setItem(name, key);
    this.key = key;
  }

  signOut(notice = ''): void {
    sessionStorage.removeItem(name);
    localStorage.removeItem(name);
    this.key = '';
    this.scopes = [];
    this.notice = notice;
  }

  may(scope: string): boolean {
    return this.scopes.includes('admin') || this.scopes.includes(scope);
  }
}

export const session = new Session();

/** Takes a key out of the address (#key=…), so that it stays in no history. */
export function takeKeyFromAddress(): void {
  const given = /^#key=([^&]+)/.exec(location.hash)?.[1];
  if (!given) return;
  history.replaceState(null, '', location.pathname + '#/');
  session.signIn(decodeURIComponent(given), false);
}
