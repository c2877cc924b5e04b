// What a client of a timeline's stream holds.

/** The tweets of a home timeline, as the events of its stream leave them. */
export class Timeline {
  #tweets = new Map();

  /**
   * Apply an event.
   *
   * @param {object} event {tweet}, {removed_tweet_id} or {reset}, as the stream has it.
   * @returns {boolean} whether it brought a tweet that was not there.
   */
  apply(event) {
    if (event.tweet) {
      const isNew = !this.#tweets.has(event.tweet.id);
      this.#tweets.set(event.tweet.id, event.tweet);
      return isNew;
    }
    if (event.removed_tweet_id) {
      this.#tweets.delete(event.removed_tweet_id);
    } else if (event.reset) {
      this.#tweets.clear();
    }
    return false;
  }

  /** Take all tweets out. */
  clear() {
    this.#tweets.clear();
  }

  /** Return the tweets by id, newest first. */
  newestFirst() {
    return [...this.#tweets.values()].sort((one, other) => compareIds(other.id, one.id));
  }
}

/** Compare two ids, which are strings because JavaScript rounds numbers above 2^53. */
export function compareIds(one, other) {
  const difference = BigInt(one) - BigInt(other);
  return difference < 0n ? -1 : Number(difference > 0n);
}
