import { type SecureClientSessionOptions } from "node:http2";

import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";

import { Client } from "./client.js";
import { type SessionOptions } from "./sessions.js";

// Fanfare allows a ping every 5 s. Without pings, a connection that is dead but not closed would be
// noticed only by the deadlines of its calls.
const PINGS = { pingIntervalMs: 10_000, pingTimeoutMs: 5_000, pingIdleConnection: true };

export interface NodeOptions extends SessionOptions {
  /**
   * `ca`, `cert` and `key`, in PEM, to use TLS. Fanfare's gRPC ports require a certificate of the
   * client.
   */
  tls?: Pick<SecureClientSessionOptions, "ca" | "cert" | "key">;
}

/** A client with connections to close. */
export class NodeClient extends Client {
  readonly #connections: Http2SessionManager[];

  constructor(write: Http2SessionManager, read: Http2SessionManager, options: SessionOptions) {
    super(transport(write), transport(read), options);
    this.#connections = [write, read];
  }

  /** Closes the connections, which ends calls and watches. The session goes on. */
  override close(): void {
    super.close();
    for (const connection of this.#connections) {
      connection.abort();
    }
  }
}

/**
 * Returns a client that calls Fanfare by gRPC, from Node.js. It connects when it is first used.
 *
 * @param writeTarget - host:port of the write service
 * @param readTarget - host:port of the read service
 */
export function connectNode(
  writeTarget: string,
  readTarget: string,
  { tls, ...options }: NodeOptions = {},
): NodeClient {
  const scheme = tls === undefined ? "http" : "https";
  const connect = (target: string) => new Http2SessionManager(`${scheme}://${target}`, PINGS, tls);
  return new NodeClient(connect(writeTarget), connect(readTarget), options);
}

function transport(sessionManager: Http2SessionManager) {
  return createGrpcTransport({ baseUrl: sessionManager.authority, sessionManager });
}
