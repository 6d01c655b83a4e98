import type { components } from './frames';

type Schemas = components['schemas'];

/** Frames of the socket /rtc (subprotocol tipring.v1), as openapi.yaml describes them. */
export type Welcome = Schemas['PageWelcome'];
export type Problem = Schemas['PageProblem'];
export type Reply = Schemas['PageReply'];
export type ServerEvent = Schemas['PageEvent'];
export type ServerFrame = Schemas['PageFrame'];
