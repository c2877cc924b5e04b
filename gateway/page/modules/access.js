// Signing in and signing up.

import { byId } from "./dom.js";
import { fieldError, onSubmit } from "./forms.js";

const ONCE = { isRepeatable: false };

/**
 * Have the two forms of the page do their work.
 *
 * @param {Api} api where accounts and sessions are created.
 * @param {boolean} hasAuthentication whether this installation asks for passwords.
 * @param {Function} onSignedIn takes the user, and their session or null.
 */
export function connectAccess(api, hasAuthentication, onSignedIn) {
  const signIn = byId("sign-in");
  const signUp = byId("sign-up");
  byId("open-notice").hidden = hasAuthentication;
  byId("sign-in-password-field").hidden = !hasAuthentication;

  async function newSession(username, password) {
    if (!hasAuthentication) {
      return null;
    }
    const { session } = await api.command("POST", "sessions", { username, password }, ONCE);
    return session;
  }

  function enter(user, session) {
    signIn.reset();
    signUp.reset();
    onSignedIn(user, session);
  }

  onSubmit(signIn, async ({ username, password }) => {
    const session = await newSession(username, password);
    const { user } = await api.query(session ? `users/${session.user_id}` : pathOf(username));
    enter(user, session);
  });

  onSubmit(signUp, async ({ username, email, password, bio }) => {
    const { user } = await api.command("POST", "users", { username, email, password, bio }, ONCE);
    enter(user, await newSession(username, password));
  });
}

/** Return the path of the user with a name that somebody has typed. */
export function pathOf(username) {
  const name = username.trim().replace(/^@/, "");
  if (name === "") {
    throw fieldError("username", "must not be empty");
  }
  return `users/username/${encodeURIComponent(name)}`;
}
