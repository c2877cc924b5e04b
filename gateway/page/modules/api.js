// The REST API of Fanfare.

import { CallError, errorOfResponse, noAnswer } from "./errors.js";

// The service gives up after ten seconds.
const CALL_MILLISECONDS = 15_000;
const ATTEMPTS = 4;
const FIRST_PAUSE_MILLISECONDS = 300;
const TOKEN_HEADER = "Fanfare-Consistency-Token";
const LOST_TOKEN = new Set(["CONSISTENCY_TOKEN_LOST", "INVALID_CONSISTENCY_TOKEN"]);

/** Calls the two REST ports as one user. */
export class Api {
  #readUrl;
  #writeUrl;
  #account;
  #commands = Promise.resolve();

  /**
   * @param {URL} readUrl where queries go.
   * @param {URL | null} writeUrl where commands go; null if this installation has none over REST.
   * @param {Account} account who calls. It has the tokens.
   */
  constructor(readUrl, writeUrl, account) {
    this.#readUrl = readUrl;
    this.#writeUrl = writeUrl;
    this.#account = account;
  }

  /**
   * Return the answer to a query, which shows the effect of all commands before it.
   *
   * @param {string} path the path, without a slash at its beginning.
   * @param {object} parameters the query parameters; one whose value is a list is repeated.
   * @throws {CallError} the query failed, though it was repeated.
   */
  async query(path, parameters = {}) {
    return await this.#repeat(async () => {
      const response = await this.#withToken((token) =>
        this.#send(this.#queryUrl(path, { ...parameters, ...token }), {
          signal: AbortSignal.timeout(CALL_MILLISECONDS),
        }),
      );
      return await bodyOf(response);
    });
  }

  /**
   * Open a stream, whose first state shows the effect of all commands before it.
   *
   * @param {string} path the path, without a slash at its beginning.
   * @param {object} parameters the query parameters.
   * @param {AbortSignal} signal closes the stream.
   * @returns {Promise<Response>} the response, of which only the head has been read.
   * @throws {CallError} the stream could not be opened.
   */
  async openStream(path, parameters, signal) {
    return await this.#withToken((token) =>
      this.#send(this.#queryUrl(path, { ...parameters, ...token }), { signal }),
    );
  }

  /**
   * Run a command, after the commands before it; return its answer, null if that has no body.
   *
   * @param {string} verb the HTTP method.
   * @param {string} path the path, without a slash at its beginning.
   * @param {object | null} body what to send.
   * @param {object} options isRepeatable: whether it does no harm if the command is repeated
   *   after an answer that was lost.
   * @throws {CallError} the command failed. If that is temporary, it may have taken effect.
   */
  command(verb, path, body, { isRepeatable }) {
    // One after another: the token of a command covers those that were answered before it began.
    const running = this.#commands.then(() => this.#run(verb, path, body, isRepeatable));
    this.#commands = running.catch(() => {});
    return running;
  }

  async #run(verb, path, body, isRepeatable) {
    if (this.#writeUrl === null) {
      throw new CallError(
        "This page knows no address for commands: FANFARE_REST_WRITE_PORT is 0, or the page was " +
          "opened by an IPv6 address instead of a name.",
      );
    }
    const attempt = async () => {
      const response = await this.#send(urlOf(path, this.#writeUrl), {
        method: verb,
        headers: body === null ? {} : { "Content-Type": "application/json" },
        body: body === null ? null : JSON.stringify(body),
        signal: AbortSignal.timeout(CALL_MILLISECONDS),
      });
      const token = response.headers.get(TOKEN_HEADER);
      if (token) {
        this.#account.setConsistencyToken(token);
      }
      return response.status === 204 ? null : await bodyOf(response);
    };
    return await (isRepeatable ? this.#repeat(attempt) : attempt());
  }

  async #repeat(attempt) {
    for (let pause = FIRST_PAUSE_MILLISECONDS, left = ATTEMPTS; ; pause *= 2) {
      try {
        return await attempt();
      } catch (error) {
        left -= 1;
        const wait = Math.max(pause * (0.5 + Math.random()), error.retryMs ?? 0);
        if (!error.isTemporary || left === 0 || wait > CALL_MILLISECONDS) {
          throw error;
        }
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
  }

  /** Call with the consistency token as a parameter, and without it if the database lost it. */
  async #withToken(call) {
    const token = this.#account.consistencyToken;
    try {
      return await call(token ? { consistency_token: token } : {});
    } catch (error) {
      if (!token || !LOST_TOKEN.has(error.reason)) {
        throw error;
      }
      this.#account.setConsistencyToken("");
      return await call({});
    }
  }

  #queryUrl(path, parameters) {
    const url = urlOf(path, this.#readUrl);
    for (const [name, value] of Object.entries(parameters)) {
      for (const each of [value].flat()) {
        url.searchParams.append(name, each);
      }
    }
    return url;
  }

  /** Send a request; refresh the session and send it again if the access token has ended. */
  async #send(url, options) {
    const used = await this.#account.accessToken();
    try {
      return await send(url, options, used);
    } catch (error) {
      if (error.reason !== "UNAUTHENTICATED" || used === null) {
        throw error;
      }
      return await send(url, options, await this.#account.refreshedToken(used));
    }
  }
}

/** Return the URL of a path, in which a colon does not make a scheme of what is before it. */
export function urlOf(path, base) {
  return new URL(`./${path}`, base);
}

/** Return the JSON of a response; throw a CallError if the connection breaks off. */
export async function bodyOf(response) {
  try {
    return await response.json();
  } catch {
    throw noAnswer();
  }
}

/**
 * Send a request, and return a response of success.
 *
 * @param {URL} url where to.
 * @param {object} options those of fetch().
 * @param {string | null} accessToken the access token of the caller, who may have none.
 * @throws {CallError} the call failed. An abort by the signal is an answer that did not come.
 */
export async function send(url, options, accessToken = null) {
  const headers = { ...options.headers };
  if (accessToken !== null) {
    headers.Authorization = `Bearer ${accessToken}`;
  }
  let response;
  try {
    response = await fetch(url, {
      ...options,
      headers,
      cache: "no-store",
      credentials: "omit",
      referrerPolicy: "no-referrer",
    });
  } catch {
    throw noAnswer();
  }
  if (!response.ok) {
    throw await errorOfResponse(response);
  }
  return response;
}
