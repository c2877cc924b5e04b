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
    fetch: fetchOrFail,
  });
}

/**
 * Is fetch(), but fails with UNAVAILABLE if the server is not reached, which Connect would call
 * unknown, and obeys the signal in Node.js, too: its own fetch() no longer does after a garbage
 * collection.
 */
async function fetchOrFail(input: RequestInfo | URL, init: RequestInit = {}): Promise<Response> {
  const signal = init.signal ?? new AbortController().signal;
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason as Error), { once: true });
  });
  try {
    const response = await Promise.race([fetch(input, init), aborted]);
    const body = response.body?.pipeThrough(new TransformStream(), { signal });
    return new Response(body, response);
  } catch (cause) {
    if (cause instanceof TypeError) {
      throw new ConnectError(cause.message, Code.Unavailable, undefined, undefined, cause);
    }
    throw cause;
  }
}
