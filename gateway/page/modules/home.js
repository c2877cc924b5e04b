// The home view: a form for posts, and the timeline as it happens.

import { CLOCK, announce, byId } from "./dom.js";
import { contentError, countIn, onSubmit, submitOnCtrlEnter } from "./forms.js";
import { Stream } from "./stream.js";
import { normaliseContent } from "./text.js";
import { Timeline } from "./timeline.js";
import { TweetList } from "./tweets.js";

const LIMIT = 50;
// New posts are announced together, so that a busy timeline does not talk without pause.
const ANNOUNCE_MILLISECONDS = 10_000;
// A browser has six connections for all tabs of a page. One that nobody looks at needs none.
const HIDDEN_MILLISECONDS = 60_000;

/** The timeline of one user, until stop() is called. */
export class Home {
  #timeline = new Timeline();
  #tweets;
  #stream;
  #stopping = new AbortController();
  #hiddenTimer = null;
  #unannounced = 0;
  #announceTimer = null;
  #onEnd;

  /**
   * @param {object} parts api, names, userId, and heartbeatMs: how often the server says that it is
   *   there.
   * @param {Function} onEnd takes the error if the timeline cannot be read any more.
   */
  constructor(parts, onEnd) {
    const { api, userId, heartbeatMs } = parts;
    this.#onEnd = onEnd;
    this.#tweets = new TweetList(byId("timeline"), byId("timeline-heading"), parts);
    this.#stream = new Stream(
      (resumeToken, signal) => {
        const resume = resumeToken ? { resume_token: resumeToken } : {};
        return api.openStream(`timeline/${userId}/stream`, { limit: LIMIT, ...resume }, signal);
      },
      heartbeatMs,
      (events) => this.#apply(events),
      (error) => this.#showState(error),
    );
    const { signal } = this.#stopping;
    document.addEventListener("visibilitychange", () => this.#onVisibility(), { signal });
    window.addEventListener("online", () => this.#stream.start(), { signal });
    this.#stream.start();
  }

  /** Show the effect of a follow without waiting for its event. */
  refresh() {
    this.#stream.refresh();
  }

  stop() {
    this.#stopping.abort();
    clearTimeout(this.#hiddenTimer);
    clearTimeout(this.#announceTimer);
    this.#stream.pause();
    this.#tweets.show([]);
    byId("timeline-empty").hidden = true;
  }

  #apply(events) {
    const count = events.filter((event) => this.#timeline.apply(event)).length;
    this.#tweets.show(this.#timeline.newestFirst());
    if (this.#stream.state === "live") {
      this.#showWhetherEmpty();
      this.#announceSoon(count);
    }
  }

  #showWhetherEmpty() {
    byId("timeline-empty").hidden = this.#timeline.newestFirst().length > 0;
  }

  #announceSoon(count) {
    this.#unannounced += count;
    if (this.#announceTimer !== null || this.#unannounced === 0) {
      return;
    }
    const say = () => {
      announce(this.#unannounced === 1 ? "1 new post" : `${this.#unannounced} new posts`);
      this.#unannounced = 0;
      this.#announceTimer = setTimeout(() => {
        this.#announceTimer = null;
        this.#announceSoon(0);
      }, ANNOUNCE_MILLISECONDS);
    };
    say();
  }

  #onVisibility() {
    clearTimeout(this.#hiddenTimer);
    if (document.hidden) {
      this.#hiddenTimer = setTimeout(() => this.#stream.pause(), HIDDEN_MILLISECONDS);
    } else {
      this.#stream.start();
    }
  }

  #showState(error) {
    const { state, asOf } = this.#stream;
    const element = byId("connection");
    element.dataset.state = state;
    element.textContent = words(state, asOf, error);
    if (state === "live") {
      this.#showWhetherEmpty();
    } else if (state === "ended") {
      this.#onEnd(error);
    }
  }
}

function words(state, asOf, error) {
  const seen = asOf === null ? "" : ` You see the posts of ${CLOCK.format(asOf)}.`;
  const why = error === null || error.isTemporary ? "" : ` ${error.message}`;
  switch (state) {
    case "live":
      return "Live";
    case "connecting":
      return `Connecting …${why}`;
    case "reconnecting":
      return `Reconnecting …${seen}${why}`;
    case "offline":
      return `Offline. Trying again.${seen}${why}`;
    case "paused":
      return `Paused while nobody looks.${seen}`;
    default:
      return `Ended.${why}`;
  }
}

/**
 * Have the form for posts do its work.
 *
 * @param {Function} current returns {api, userId} of who uses the page now.
 */
export function connectCompose(current) {
  const form = byId("compose");
  const textarea = byId("compose-content");
  const showCount = countIn(textarea, byId("compose-count"));
  const done = byId("compose-done");
  let draft = { content: null, requestId: "" };
  submitOnCtrlEnter(textarea);
  textarea.addEventListener("input", () => {
    done.textContent = "";
  });
  form.addEventListener("reset", () => {
    draft = { content: null, requestId: "" };
    done.textContent = "";
    queueMicrotask(showCount); // when the form is empty
  });

  onSubmit(form, async ({ content }) => {
    const problem = contentError(content);
    if (problem !== null) {
      throw problem;
    }
    // The same text is sent with the same request_id until it was answered, so that it is posted
    // once even if an answer was lost.
    const normalised = normaliseContent(content);
    if (draft.content !== normalised) {
      draft = { content: normalised, requestId: newRequestId() };
    }
    const { api, userId } = current();
    const body = { user_id: userId, content, request_id: draft.requestId };
    try {
      await api.command("POST", "tweets", body, { isRepeatable: true });
    } catch (error) {
      if (error.isTemporary) {
        error.message += " Trying again does not post it twice.";
      }
      throw error;
    }
    form.reset();
    const link = document.createElement("a");
    link.href = "#/me";
    link.textContent = "Your posts";
    done.replaceChildren("Posted. It is under ", link, ".");
    textarea.focus();
  });
}

/** Return a random UUID. (crypto.randomUUID() is there only over TLS and on localhost.) */
function newRequestId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
