import { timestampMs } from "@bufbuild/protobuf/wkt";
import { Code, createClient, type Client, type Transport } from "@connectrpc/connect";

import { FanfareError } from "./errors.js";
import { AuthService, type Session } from "./gen/fanfare/auth/v1/auth_pb.js";
import { ErrorReason } from "./gen/fanfare/errors/v1/errors_pb.js";

/** What a call without a timeout gets. */
export const DEFAULT_TIMEOUT_MS = 10_000;
// An access token lasts ten minutes. It is refreshed so early that no call meets its end.
const REFRESH_BEFORE_MS = 60_000;
// The pause after a refresh, also one that failed. If this machine's clock is wrong, every access
// token may seem to have expired.
const REFRESH_PAUSE_MS = 60_000;

/** The clocks that sessions need. */
export interface Clocks {
  /** The time in milliseconds since 1970. */
  now(): number;
  /** A time that nobody sets, in milliseconds. */
  monotonic(): number;
}

const systemClocks: Clocks = { now: () => Date.now(), monotonic: () => performance.now() };

export interface SessionOptions {
  /** A session to go on with. */
  session?: Session;
  /**
   * Called with each new session before it is used, to store it. A refresh token is valid only once,
   * so only the latest session can be continued.
   */
  onSession?: (session: Session) => void;
}

/** How long a caller waits for a session to be refreshed. */
export interface Patience {
  /** A time of performance.now(); without one, until the refresh ends. */
  deadline?: number;
  signal?: AbortSignal | undefined;
}

/** Keeps the access token of a client's session valid. Without a session, calls carry none. */
export class Sessions {
  readonly #auth: Client<typeof AuthService>;
  readonly #clocks: Clocks;
  readonly #onSession: ((session: Session) => void) | undefined;
  #session: Session | undefined;
  #nextRefresh = -Infinity;
  #refreshing: Promise<void> | undefined;

  constructor(write: Transport, { session, onSession }: SessionOptions, clocks = systemClocks) {
    this.#auth = createClient(AuthService, write);
    this.#session = session;
    this.#onSession = onSession;
    this.#clocks = clocks;
  }

  get session(): Session | undefined {
    return this.#session;
  }

  /** Uses another session from now on. */
  replace(session: Session | undefined): void {
    try {
      if (session !== undefined) {
        this.#onSession?.(session);
      }
    } finally {
      this.#session = session; // the refresh token of the one before is used up
    }
  }

  /** Returns an access token that has not expired if possible; empty without a session. */
  async accessToken(patience: Patience): Promise<string> {
    if (this.#isDue()) {
      try {
        await this.#refresh(patience);
      } catch (cause) {
        // The old access token may still be valid. If not, the call says so.
        if (!(cause instanceof FanfareError)) {
          throw cause;
        }
      }
    }
    return this.#session?.accessToken ?? "";
  }

  /** Returns another access token than the one that was rejected; throws FanfareError. */
  async renew(rejected: string, patience: Patience): Promise<string> {
    if (this.#session?.accessToken === rejected) {
      await this.#refresh(patience);
    }
    return this.#session?.accessToken ?? "";
  }

  #isDue(): boolean {
    const expires = this.#session?.accessExpiresAt;
    return (
      expires !== undefined &&
      this.#clocks.monotonic() >= this.#nextRefresh &&
      this.#clocks.now() >= timestampMs(expires) - REFRESH_BEFORE_MS
    );
  }

  /**
   * Refreshes the session. Calls that need this at the same time share one refresh, which goes on if
   * they give up, because it uses up the refresh token.
   */
  #refresh(patience: Patience): Promise<void> {
    this.#refreshing ??= this.#exchange().finally(() => {
      this.#refreshing = undefined;
    });
    return waitFor(this.#refreshing, patience);
  }

  async #exchange(): Promise<void> {
    const old = this.#session;
    this.#nextRefresh = this.#clocks.monotonic() + REFRESH_PAUSE_MS;
    let next: Session | undefined;
    try {
      const request = { refreshToken: old?.refreshToken ?? "" };
      const options = { timeoutMs: DEFAULT_TIMEOUT_MS };
      next = (await this.#auth.refreshSession(request, options)).session;
    } catch (cause) {
      const error = FanfareError.from(cause);
      if (error.reason === ErrorReason.INVALID_REFRESH_TOKEN && this.#session === old) {
        this.replace(undefined);
      }
      throw error;
    }
    if (this.#session === old) {
      this.replace(next); // unless somebody signed in or out meanwhile
    }
  }
}

/** Waits for a promise, but not longer than its caller wants. */
function waitFor(promise: Promise<void>, { deadline, signal }: Patience): Promise<void> {
  return new Promise((resolve, reject) => {
    const expire = () =>
      reject(new FanfareError(Code.DeadlineExceeded, "the session was not refreshed in time"));
    const cancel = () => reject(new FanfareError(Code.Canceled, "the call was cancelled"));
    const timer =
      deadline === undefined ? undefined : setTimeout(expire, deadline - performance.now());
    signal?.addEventListener("abort", cancel);
    if (signal?.aborted) {
      cancel();
    }
    void promise.then(resolve, reject).finally(() => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", cancel);
    });
  });
}

/** Returns whether a call failed because of its access token; "" if it had none. */
export function isRejected(error: FanfareError, accessToken: string): boolean {
  return (
    accessToken !== "" &&
    error.code === Code.Unauthenticated &&
    error.reason === ErrorReason.UNAUTHENTICATED
  );
}

/** Returns the headers of a call, with the access token unless it is empty. */
export function withAuthorization(header: HeadersInit | undefined, accessToken: string): Headers {
  const headers = new Headers(header);
  if (accessToken !== "") {
    headers.set("authorization", `Bearer ${accessToken}`);
  }
  return headers;
}
