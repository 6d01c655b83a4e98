/** What went wrong. Codes of the server (`call_not_found`, `bad_sdp`, …) are passed on as they are. */
export type ErrorCode =
  | 'token_invalid'
  | 'token_expired'
  | 'forbidden'
  | 'microphone_denied'
  | 'microphone_missing'
  | 'insecure_context'
  | 'unsupported'
  | 'network'
  | 'timeout'
  | 'closed'
  | 'ended'
  | (string & {});

/** Every promise of the SDK that fails fails with one of these. */
export class TipringError extends Error {
  override readonly name = 'TipringError';

  constructor(
    readonly code: ErrorCode,
    message: string,
    /** Whether the same may work later. */
    readonly retryable = code === 'network' || code === 'timeout' || code === 'rate_limited' || code === 'overloaded',
  ) {
    super(message);
  }
}

/** The SDK's error for one of getUserMedia. */
export function mediaError(error: unknown): TipringError {
  const name = error instanceof Error ? error.name : '';
  if (!globalThis.isSecureContext) {
    return new TipringError('insecure_context', 'Browsers give the microphone to pages over https or on localhost only.');
  }
  switch (name) {
    case 'NotAllowedError':
    case 'SecurityError':
      return new TipringError('microphone_denied', 'The page may not use the microphone: allow it in the browser, beside the address.');
    case 'NotFoundError':
    case 'OverconstrainedError':
      return new TipringError('microphone_missing', 'There is no microphone, or not the one that was chosen.');
    case 'NotReadableError':
      return new TipringError('microphone_missing', 'The microphone is in use by another program.');
  }
  return new TipringError('unsupported', `The microphone cannot be opened: ${String(error)}`);
}
