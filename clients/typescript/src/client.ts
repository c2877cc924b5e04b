import { createClient, type Client as Stub, type Transport } from "@connectrpc/connect";

import { Calls } from "./calls.js";
import { FanfareError } from "./errors.js";
import { AuthService, type Session } from "./gen/fanfare/auth/v1/auth_pb.js";
import { type Tweet } from "./gen/fanfare/common/v1/common_pb.js";
import { ReadService } from "./gen/fanfare/read/v1/read_pb.js";
import { WriteService } from "./gen/fanfare/write/v1/write_pb.js";
import { sleep } from "./retries.js";
import { Sessions, withAuthorization, type SessionOptions } from "./sessions.js";
import { Watch } from "./watch.js";

// A server sends a heartbeat every ten seconds, unless its operator has set another time. After three
// times as long without an event the connection is lost, whatever the network says.
const SILENCE_MS = 30_000;

export interface WatchOptions {
  /** How many tweets to show; 0 means 20, and more than 100 means 100. */
  limit?: number;
  /** Of a command whose effect the first timeline must show. */
  consistencyToken?: string;
  /** Ends the watch when it is aborted. */
  signal?: AbortSignal;
}

/**
 * Calls Fanfare's services. connectNode() of `@fanfare/client/node` and connectWeb() of
 * `@fanfare/client/web` return one.
 *
 * Unary calls are repeated as the service config says, have a deadline of ten seconds unless they
 * name a `timeoutMs`, carry the access token of the session, and throw FanfareError. Requests that
 * create tweets get a requestId if they have none, so that repeating them is safe.
 */
export class Client {
  /** Commands. */
  readonly write: Stub<typeof WriteService>;
  /** Queries. */
  readonly read: Stub<typeof ReadService>;
  /** Sessions; signIn() and signOut() use it. */
  readonly auth: Stub<typeof AuthService>;
  readonly #sessions: Sessions;
  readonly #closing = new AbortController();

  /**
   * @param write - reaches the write service
   * @param read - reaches the read service
   */
  constructor(write: Transport, read: Transport, options: SessionOptions = {}) {
    this.#sessions = new Sessions(write, options);
    const calls = new Calls(write, this.#sessions);
    this.write = createClient(WriteService, calls);
    this.auth = createClient(AuthService, calls);
    this.read = createClient(ReadService, new Calls(read, this.#sessions));
  }

  /** Ends watches. The session goes on. */
  close(): void {
    this.#closing.abort();
  }

  /** The session, with its newest tokens. */
  get session(): Session | undefined {
    return this.#sessions.session;
  }

  /** Creates a session, and uses it for the calls from now on. */
  async signIn(username: string, password: string): Promise<void> {
    const { session } = await this.auth.createSession({ username, password });
    this.#sessions.replace(session);
  }

  /** Ends the session, and goes on without one. */
  async signOut(): Promise<void> {
    const session = this.session;
    if (session !== undefined) {
      await this.auth.revokeSession({ refreshToken: session.refreshToken });
      this.#sessions.replace(undefined);
    }
  }

  /**
   * Watches a home timeline: yields its newest tweets, newest first, once at the beginning and then
   * after each change. A stream that ends is opened again, after a pause that grows, and continues
   * where it ended. Throws a FanfareError if the watch cannot go on, as when the user was deleted.
   */
  async *watch(
    userId: bigint,
    { limit = 0, consistencyToken = "", signal }: WatchOptions = {},
  ): AsyncGenerator<Tweet[], void, undefined> {
    const watch = new Watch(userId, limit, consistencyToken);
    const ended = AbortSignal.any([this.#closing.signal, ...(signal ? [signal] : [])]);
    for (;;) {
      const accessToken = await this.#sessions.accessToken({ signal: ended });
      if (ended.aborted) {
        return;
      }
      const stop = new AbortController();
      const abort = () => stop.abort();
      ended.addEventListener("abort", abort);
      let silence = setTimeout(abort, SILENCE_MS);
      let error: FanfareError | undefined;
      try {
        const events = this.read.watchHomeTimeline(watch.request(), {
          headers: withAuthorization(undefined, accessToken),
          signal: stop.signal,
        });
        for await (const event of events) {
          clearTimeout(silence);
          const tweets = watch.apply(event);
          if (tweets !== undefined) {
            yield tweets;
          }
          silence = setTimeout(abort, SILENCE_MS);
        }
      } catch (cause) {
        error = FanfareError.from(cause);
      } finally {
        clearTimeout(silence);
        ended.removeEventListener("abort", abort);
        abort();
      }
      if (watch.needsNewToken(error, accessToken)) {
        try {
          await this.#sessions.renew(accessToken, { signal: ended });
          watch.noteRenewed();
          continue;
        } catch (cause) {
          error = FanfareError.from(cause);
        }
      }
      if (!ended.aborted) {
        await sleep(watch.delayMs(error), ended);
      }
    }
  }
}
