// Who uses the page: the user, their session, and their consistency token.

import { bodyOf, send, urlOf } from "./api.js";

// The session is kept for this tab only: of two tabs with one session, each would use the refresh
// token of the other, which ends the session.
const STORE = "fanfare";
const REFRESH_BEFORE_MILLISECONDS = 30_000;
// The clock of this device may be wrong, so that every access token seems to have expired.
const REFRESH_AT_MOST_EVERY_MILLISECONDS = 60_000;
const REFRESH_MILLISECONDS = 15_000;
const ENDED = "Your session has ended. Sign in again.";

export class Account {
  /** The user, {id, username}; null while nobody is signed in. */
  user = null;
  /** The token of the last command; "" if there was none. */
  consistencyToken = "";
  #session = null;
  #refreshedAt = 0;
  #refreshing = null;
  #writeUrl;
  #onEnd;

  /**
   * @param {URL | null} writeUrl where sessions are refreshed.
   * @param {Function} onEnd is called with the reason when a session has ended by itself.
   */
  constructor(writeUrl, onEnd) {
    this.#writeUrl = writeUrl;
    this.#onEnd = onEnd;
  }

  /** Go on as the user of this tab, if there is one and the page was loaded again. */
  restore() {
    try {
      const kept = JSON.parse(sessionStorage.getItem(STORE));
      this.user = kept?.user ?? null;
      this.#session = kept?.session ?? null;
      this.consistencyToken = kept?.consistencyToken ?? "";
    } catch {
      // Storage is off. Nobody stays signed in when the page is loaded again.
    }
  }

  /**
   * Become a user.
   *
   * @param {object} user the user.
   * @param {object | null} session their session; null where authentication is off.
   */
  signIn(user, session) {
    this.user = { id: user.id, username: user.username };
    this.#session = session;
    this.#save();
  }

  /** Be nobody again, and end the session if the service can be reached. */
  signOut() {
    const session = this.#session;
    this.#forget();
    if (session !== null) {
      this.#post("sessions:revoke", session.refresh_token).catch(() => {});
    }
  }

  /** Keep the token of a command that was answered. */
  setConsistencyToken(token) {
    this.consistencyToken = token;
    this.#save();
  }

  /**
   * Return an access token; null where authentication is off.
   *
   * @throws {CallError} the session had to be refreshed, which failed.
   */
  async accessToken() {
    const session = this.#session;
    if (session === null) {
      return null;
    }
    const now = Date.now();
    const left = Date.parse(session.access_expires_at) - now;
    if (
      left > REFRESH_BEFORE_MILLISECONDS ||
      now - this.#refreshedAt < REFRESH_AT_MOST_EVERY_MILLISECONDS
    ) {
      return session.access_token;
    }
    return await this.refreshedToken(session.access_token);
  }

  /**
   * Return an access token other than one that has ended.
   *
   * @param {string} ended the access token that has ended.
   * @throws {CallError} the session could not be refreshed.
   */
  async refreshedToken(ended) {
    if (this.#session !== null && this.#session.access_token !== ended) {
      return this.#session.access_token; // another call has refreshed the session meanwhile
    }
    // A refresh token can be used once, so calls that need it at the same time share one refresh.
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = null;
    });
    return await this.#refreshing;
  }

  async #refresh() {
    const before = this.#session;
    try {
      const response = await this.#post("sessions:refresh", before?.refresh_token ?? "-");
      const { session } = await bodyOf(response);
      if (this.#session === before) {
        this.#session = session;
        this.#refreshedAt = Date.now();
        this.#save();
      }
      return session.access_token;
    } catch (error) {
      if (error.reason === "INVALID_REFRESH_TOKEN" && this.#session === before) {
        error.message = ENDED; // the calls that wait for the refresh say the same
        this.#forget();
        this.#onEnd(ENDED);
      }
      throw error;
    }
  }

  async #post(path, refreshToken) {
    return await send(urlOf(path, this.#writeUrl), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ refresh_token: refreshToken }),
      signal: AbortSignal.timeout(REFRESH_MILLISECONDS),
    });
  }

  #forget() {
    this.user = null;
    this.#session = null;
    this.consistencyToken = "";
    this.#save();
  }

  #save() {
    try {
      const { user, consistencyToken } = this;
      sessionStorage.setItem(STORE, JSON.stringify({ user, session: this.#session, consistencyToken }));
    } catch {
      // as in restore()
    }
  }
}
