export { Client } from './client';
export type { CallOptions, ClientEvents, ClientOptions, ClientState } from './client';
export { Call, IncomingCall } from './call';
export type { CallEvents, CallState, EndReason } from './call';
export { TipringError } from './errors';
export type { ErrorCode } from './errors';
export type { Quality, Warning } from './quality';
export type { Unsubscribe } from './emitter';
