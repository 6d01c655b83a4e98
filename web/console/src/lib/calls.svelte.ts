import { api, read, said, type Call } from './api';

/** Carries out an action on a call, and says why if it was refused. */
export async function act(id: string, action: 'hangup' | 'mute' | 'unmute' | 'hold' | 'unhold' | 'answer'): Promise<string> {
  const params = { path: { call_id: id } };
  try {
    switch (action) {
      case 'hangup': await read(api.POST('/v1/calls/{call_id}/actions/hangup', { params, body: {} })); break;
      case 'mute': await read(api.POST('/v1/calls/{call_id}/actions/mute', { params, body: {} })); break;
      case 'unmute': await read(api.POST('/v1/calls/{call_id}/actions/unmute', { params, body: {} })); break;
      case 'hold': await read(api.POST('/v1/calls/{call_id}/actions/hold', { params, body: {} })); break;
      case 'unhold': await read(api.POST('/v1/calls/{call_id}/actions/unhold', { params, body: {} })); break;
      case 'answer': await read(api.POST('/v1/calls/{call_id}/actions/answer', { params, body: {} })); break;
    }
    return '';
  } catch (error) {
    return said(error);
  }
}

/** How long a call lasts, or lasted, in ms. */
export function lasted(call: Call, now: number): number {
  return (call.ended_at ? Date.parse(call.ended_at) : now) - Date.parse(call.answered_at ?? call.created_at);
}
