// The names of the authors of tweets, which have the authors' ids only.

const MAX_IDS = 50; // more would count as several calls

/** Looks up usernames, many at a time, and keeps them. */
export class Names {
  #api;
  #known = new Map();
  #wanted = new Map();

  constructor(api) {
    this.#api = api;
  }

  /** Keep the name of a user that was read anyway. */
  put(user) {
    this.#known.set(user.id, user.username);
  }

  /**
   * Call a function with the name of a user: at once if it is known, otherwise with a substitute
   * first. It is not called with the name if that cannot be found.
   */
  use(userId, show) {
    const name = this.#known.get(userId);
    show(name ?? `user ${userId}`);
    if (name === undefined) {
      if (this.#wanted.size === 0) {
        queueMicrotask(() => this.#lookUp());
      }
      this.#wanted.set(userId, [...(this.#wanted.get(userId) ?? []), show]);
    }
  }

  async #lookUp() {
    const wanted = [...this.#wanted];
    this.#wanted.clear();
    for (let start = 0; start < wanted.length; start += MAX_IDS) {
      const some = wanted.slice(start, start + MAX_IDS);
      try {
        const { users } = await this.#api.query("users:batchGet", {
          user_ids: some.map(([userId]) => userId),
        });
        users.forEach((user) => this.put(user));
      } catch {
        // The substitute stays. The next tweet of the author asks again.
      }
      for (const [userId, shows] of some) {
        const name = this.#known.get(userId);
        if (name !== undefined) {
          shows.forEach((show) => show(name));
        }
      }
    }
  }
}
