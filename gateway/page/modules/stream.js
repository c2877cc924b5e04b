// The stream of a home timeline: connects, watches that the server is there, and connects again.

import { CallError, errorOfStatus, noAnswer } from "./errors.js";
import { EventParser } from "./sse.js";

const LONGEST_PAUSE_MILLISECONDS = 30_000;
const DEFAULT_RETRY_MILLISECONDS = 2000;
// A connection is given up if no byte has come for this many heartbeats.
const SILENT_HEARTBEATS = 2.5;
// After this time without a heartbeat, the stream is called offline, no longer reconnecting.
const OFFLINE_MILLISECONDS = 30_000;
// Why refresh() closes a connection.
const REFRESH = "the state is read again";
// With these reasons, connecting again would not help.
const FINAL = new Set(["USER_NOT_FOUND", "PERMISSION_DENIED", "INVALID_REFRESH_TOKEN"]);

/**
 * Return how long to wait before connecting again, in milliseconds.
 *
 * It doubles with each failure, up to half a minute, and is spread so that clients that lost the
 * same server do not come back at the same moment.
 *
 * @param {number} failures how many attempts have failed since the last heartbeat.
 * @param {number} retryMs the time that the server asked for.
 * @param {number} atLeastMs the time that the last error asked for.
 * @param {number} chance between 0 and 1.
 */
export function reconnectDelay(failures, retryMs, atLeastMs, chance) {
  const longest = Math.min(retryMs * 2 ** failures, LONGEST_PAUSE_MILLISECONDS);
  return Math.max(longest * (0.5 + chance / 2), atLeastMs);
}

/**
 * A stream that is kept open.
 *
 * Its state is "connecting" before the first heartbeat, then "live"; "reconnecting", or "offline" if
 * that takes long, while there is no connection; "paused"; or "ended".
 */
export class Stream {
  state = "paused";
  /** When the last heartbeat came: what the client holds was right then. Null before the first. */
  asOf = null;
  #open;
  #heartbeatMs;
  #onEvents;
  #onState;
  #resumeToken = "";
  #retryMs = DEFAULT_RETRY_MILLISECONDS;
  #failures = 0;
  #lostAt = null;
  #running = null;
  #connection = null;
  #wake = () => {};

  /**
   * @param {Function} open takes a resume token and an AbortSignal; returns a response whose body is
   *   the stream, or throws a CallError.
   * @param {number} heartbeatMs how often the server sends a heartbeat.
   * @param {Function} onEvents takes a list of events, to be applied in their order.
   * @param {Function} onState is called when the state has changed, with the last error or null.
   */
  constructor(open, heartbeatMs, onEvents, onState) {
    this.#open = open;
    this.#heartbeatMs = heartbeatMs;
    this.#onEvents = onEvents;
    this.#onState = onState;
  }

  /** Connect; at once, if the stream waits before it connects again. */
  start() {
    if (this.#running !== null) {
      this.#wake();
    } else if (this.state !== "ended") {
      this.#running = new AbortController();
      this.#run(this.#running.signal);
    }
  }

  /** Close the connection. A later start() gets what has changed since. */
  pause() {
    if (this.#running !== null) {
      this.#running.abort();
      this.#running = null;
      this.#setState("paused");
      this.#connection?.abort();
      this.#wake();
    }
  }

  /** Connect again at once, to see the effect of a command. */
  refresh() {
    this.#connection?.abort(REFRESH);
    this.#wake();
  }

  async #run(stop) {
    this.#setLost(null);
    while (!stop.aborted) {
      const connection = new AbortController();
      this.#connection = connection;
      let error = null;
      try {
        await this.#read(connection);
      } catch (caught) {
        error = caught;
      }
      if (stop.aborted) {
        return;
      }
      if (connection.signal.reason === REFRESH) {
        continue;
      }
      if (error !== null && !(error instanceof CallError)) {
        console.error(error);
        error = noAnswer();
      }
      if (FINAL.has(error?.reason) || error?.isFinal) {
        this.#running = null;
        this.#setState("ended", error);
        return;
      }
      if (error?.reason === "INVALID_RESUME_TOKEN") {
        this.#resumeToken = "";
        this.#onEvents([{ reset: {} }]);
      }
      if (error?.reason === "UNAUTHENTICATED" && this.#failures === 0) {
        // The access token of an open stream has expired. The next one comes with a new token.
        this.#failures += 1;
        continue;
      }
      this.#setLost(error);
      const asked = error?.retryMs ?? 0;
      await this.#wait(reconnectDelay(this.#failures, this.#retryMs, asked, Math.random()));
      this.#failures += 1;
    }
  }

  /** Read the stream until it ends, or until it fails. */
  async #read(connection) {
    let watchdog = null;
    const touch = () => {
      clearTimeout(watchdog);
      const milliseconds = SILENT_HEARTBEATS * this.#heartbeatMs;
      watchdog = setTimeout(() => connection.abort(), milliseconds);
    };
    touch();
    try {
      const response = await this.#opened(connection.signal);
      const reader = response.body.getReader();
      const decoder = new TextDecoder();
      const parser = new EventParser();
      for (;;) {
        const { done, value } = await reader.read().catch(() => {
          throw noAnswer();
        });
        if (done || connection.signal.aborted) {
          return;
        }
        touch();
        this.#take(parser, decoder.decode(value, { stream: true }));
      }
    } finally {
      clearTimeout(watchdog);
      connection.abort(); // of what is left of the response, if this has failed
    }
  }

  async #opened(signal) {
    try {
      return await this.#open(this.#resumeToken, signal);
    } catch (error) {
      // The session was refreshed, or there is none. (That of an open stream may need a refresh.)
      error.isFinal = error.reason === "UNAUTHENTICATED";
      throw error;
    }
  }

  #take(parser, text) {
    const events = [];
    let hasHeartbeat = false;
    let failure = null;
    for (const found of parser.push(text)) {
      if (found.kind === "retry") {
        this.#retryMs = found.milliseconds;
      } else if (found.kind === "comment") {
        hasHeartbeat ||= found.text === "heartbeat";
      } else if (found.type === "error") {
        failure = errorOfStatus(JSON.parse(found.data));
      } else {
        events.push(JSON.parse(found.data));
      }
    }
    if (events.length > 0) {
      this.#onEvents(events);
    }
    this.#resumeToken = parser.lastEventId || this.#resumeToken;
    if (failure !== null) {
      throw failure;
    }
    if (hasHeartbeat) {
      this.asOf = new Date();
      this.#failures = 0;
      this.#setState("live");
    }
  }

  async #wait(milliseconds) {
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = () => {};
  }

  #setLost(error) {
    this.#lostAt ??= Date.now();
    const isLong = Date.now() - this.#lostAt > OFFLINE_MILLISECONDS;
    if (isLong || !navigator.onLine) {
      this.#setState("offline", error);
    } else {
      this.#setState(this.asOf === null ? "connecting" : "reconnecting", error);
    }
  }

  #setState(state, error = null) {
    if (state === "live" || state === "paused") {
      this.#lostAt = null;
    }
    if (state !== this.state) {
      this.state = state;
      this.#onState(error);
    }
  }
}
