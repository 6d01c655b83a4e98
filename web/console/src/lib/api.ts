import createClient, { type Middleware } from 'openapi-fetch';
import type { components, paths } from './schema';
import { session } from './session.svelte';

type Schemas = components['schemas'];
export type Call = Schemas['Call'];
export type CallEvent = Schemas['Event'];
export type Conference = Schemas['Conference'];
export type Participant = Schemas['Participant'];
export type Recording = Schemas['Recording'];
export type Delivery = Schemas['WebhookDelivery'];
export type Application = Schemas['Application'];
export type PhoneNumber = Schemas['Number'];
export type Key = Schemas['Key'];
export type Trunk = Schemas['Trunk'];
export type Node = Schemas['Node'];
export type Entry = Schemas['TimelineEntry'];
export type Quality = Schemas['MediaQuality'];

/** A problem of the API (RFC 9457), or of the way to it. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly code: string,
    readonly fields: readonly { pointer?: string; detail?: string }[] = [],
    readonly requestId = '',
  ) {
    super(message);
  }
}

const authorize: Middleware = {
  onRequest({ request }) {
    request.headers.set('Authorization', `Bearer ${session.key}`);
    return request;
  },
};

export const api = createClient<paths>({ baseUrl: '/', fetch: (r) => globalThis.fetch(r) });
api.use(authorize);

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** The data of an answer; a failure is an ApiError. A key that is refused signs out. */
export async function read<T>(answer: Promise<Answer<T>>): Promise<T> {
  let a: Answer<T>;
  try {
    a = await answer;
  } catch {
    throw new ApiError('The server cannot be reached.', 0, 'network');
  }
  if (a.response.ok) return a.data as T;
  const p = (a.error ?? {}) as { title?: string; detail?: string; code?: string; errors?: { pointer?: string; detail?: string }[]; request_id?: string };
  if (a.response.status === 401) session.signOut('The key is not known here, or was deleted.');
  throw new ApiError(p.detail || p.title || `HTTP ${a.response.status}`, a.response.status, p.code ?? '', p.errors, p.request_id);
}

/** What went wrong, in words. */
export function said(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
