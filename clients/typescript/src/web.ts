import { Code, ConnectError } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";

import { Client } from "./client.js";
import { type SessionOptions } from "./sessions.js";

/**
 * Returns a client that calls Fanfare from a browser, by the Connect protocol on the REST ports.
 *
 * @param writeUrl - the REST address of the write service, such as http://127.0.0.1:8081
 * @param readUrl - the REST address of the read service, such as http://127.0.0.1:8080
 */
export function connectWeb(writeUrl: string, readUrl: string, options: SessionOptions = {}): Client {
  return new Client(transport(writeUrl), transport(readUrl), options);
}

function transport(baseUrl: string) {
  return createConnectTransport({
    baseUrl,
    useBinaryFormat: true,
    useHttpGet: true,
    fetch: fetchOrUnavailable,
  });
}

/** Is fetch(), with the status of a server that is not reached. Connect would call it unknown. */
async function fetchOrUnavailable(...call: Parameters<typeof fetch>): Promise<Response> {
  try {
    return await fetch(...call);
  } catch (cause) {
    if (cause instanceof TypeError) {
      throw new ConnectError(cause.message, Code.Unavailable, undefined, undefined, cause);
    }
    throw cause;
  }
}
