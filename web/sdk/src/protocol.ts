/** Frames of the socket /rtc (subprotocol tipring.v1). */
export interface Welcome {
  type: 'welcome';
  session: string;
  identity: string;
  expires_at: string;
  heartbeat_s: number;
  incoming: boolean;
  outgoing: string[] | null;
  ice_servers: RTCIceServer[];
  nodes: string[];
  calls: { call_id: string; alive: boolean }[];
}

export interface Problem {
  code: string;
  title: string;
  detail: string;
}

export interface Reply {
  type: 'reply';
  command_id: string;
  status: 'accepted' | 'error';
  call_id?: string;
  sdp?: string;
  resume?: string;
  expires_at?: string;
  error?: Problem;
}

export interface ServerEvent {
  type: string;
  call_id: string;
  timestamp: string;
  data: Record<string, unknown> | null;
}

export type ServerFrame =
  | Welcome
  | Reply
  | { type: 'event'; sequence: number; event: ServerEvent }
  | { type: 'error'; error: Problem }
  | { type: 'ping' }
  | { type: 'pong' };
