import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";

import { type FanfareError } from "./errors.js";
import { type Tweet } from "./gen/fanfare/common/v1/common_pb.js";
import { ErrorReason } from "./gen/fanfare/errors/v1/errors_pb.js";
import {
  WatchHomeTimelineRequestSchema,
  type WatchHomeTimelineRequest,
  type WatchHomeTimelineResponse,
} from "./gen/fanfare/read/v1/read_pb.js";
import { isRejected } from "./sessions.js";

const FIRST_DELAY_MS = 200;
const LONGEST_DELAY_MS = 10_000;
const TRANSIENT = new Set([Code.Unavailable, Code.ResourceExhausted]);
// These come from a proxy or a broken connection, if Fanfare gave no reason. Aborted is what Connect in
// Node.js calls a connection that is reset.
const TRANSIENT_WITHOUT_REASON = new Set([
  Code.Aborted,
  Code.Canceled,
  Code.DeadlineExceeded,
  Code.Internal,
  Code.Unknown,
]);

/** A watch of one home timeline, over all the streams that it needs; without I/O. */
export class Watch {
  readonly #userId: bigint;
  readonly #limit: number;
  readonly #chance: () => number;
  readonly #tweets = new Map<bigint, Tweet>();
  #consistencyToken: string;
  #resumeToken = "";
  #failures = 0;
  #isRenewed = false;
  #isChanged = true; // an empty timeline is shown, too

  /**
   * @param limit - how many tweets to hold, as in GetHomeTimeline
   * @param consistencyToken - of a command whose effect the first state must show; may be empty
   * @param chance - returns a random number from 0 to 1
   */
  constructor(userId: bigint, limit: number, consistencyToken: string, chance = Math.random) {
    this.#userId = userId;
    this.#limit = limit;
    this.#consistencyToken = consistencyToken;
    this.#chance = chance;
  }

  /** Returns the request of the next stream, which continues where the last one ended. */
  request(): WatchHomeTimelineRequest {
    return create(WatchHomeTimelineRequestSchema, {
      userId: this.#userId,
      limit: this.#limit,
      resumeToken: this.#resumeToken,
      consistencyToken: this.#consistencyToken,
    });
  }

  /**
   * Applies an event. Returns the tweets to show, newest first, at the end of each group of changes,
   * which a heartbeat marks; undefined before that, or if nothing changed.
   */
  apply({ event, resumeToken }: WatchHomeTimelineResponse): Tweet[] | undefined {
    this.#resumeToken = resumeToken;
    switch (event.case) {
      case "tweet":
        this.#tweets.set(event.value.id, event.value);
        break;
      case "removedTweetId":
        this.#tweets.delete(event.value);
        break;
      case "reset":
        this.#tweets.clear();
        break;
      case "heartbeat":
        return this.#endGroup();
    }
    this.#isChanged = true;
    return undefined;
  }

  #endGroup(): Tweet[] | undefined {
    this.#failures = 0;
    this.#isRenewed = false;
    this.#consistencyToken = ""; // its effect has been shown, and the resume token includes it
    if (!this.#isChanged) {
      return undefined;
    }
    this.#isChanged = false;
    return [...this.#tweets.values()].sort((a, b) => (a.id < b.id ? 1 : -1));
  }

  /** Returns whether to renew the access token and open the next stream at once. */
  needsNewToken(error: FanfareError | undefined, accessToken: string): boolean {
    return error !== undefined && !this.#isRenewed && isRejected(error, accessToken);
  }

  /** Remembers that the access token was renewed: a second rejection in a row is final. */
  noteRenewed(): void {
    this.#isRenewed = true;
  }

  /**
   * Returns how long to wait before the next stream. Throws the error if that would end with it, too.
   *
   * @param error - why the stream ended; undefined if it ended without an error
   */
  delayMs(error: FanfareError | undefined): number {
    if (error?.reason === ErrorReason.INVALID_RESUME_TOKEN && this.#resumeToken !== "") {
      // The server no longer accepts what it sent, as after a change of its format.
      this.#resumeToken = "";
      this.#tweets.clear();
      this.#isChanged = true;
    } else if (error !== undefined && !isTransient(error)) {
      throw error;
    }
    const backoff = Math.min(FIRST_DELAY_MS * 2 ** this.#failures, LONGEST_DELAY_MS);
    this.#failures++;
    return error?.retryDelayMs || backoff * (0.5 + this.#chance() / 2);
  }
}

/** Returns whether the same stream may succeed later. */
function isTransient({ code, reason }: FanfareError): boolean {
  return (
    TRANSIENT.has(code) ||
    (TRANSIENT_WITHOUT_REASON.has(code) && reason === ErrorReason.UNSPECIFIED)
  );
}
