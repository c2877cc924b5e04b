// Lists that are loaded page by page.

import { messageOf } from "./forms.js";

/** A list with a button that loads its next page. */
export class PagedList {
  #more;
  #error;
  #empty;
  #load = null;
  #show = null;
  #nextPageToken = "";
  #shown = 0;

  /**
   * @param {object} elements more: the button; error: where an error is shown; empty: what is shown
   *   if the list has nothing, or null.
   */
  constructor({ more, error, empty }) {
    this.#more = more;
    this.#error = error;
    this.#empty = empty;
    more.addEventListener("click", () => this.#loadPage(this.#load));
  }

  /**
   * Show a list from its beginning.
   *
   * @param {Function} load takes a page token; returns the items of that page and the next token.
   * @param {Function} show takes the items of a page, which follow those before.
   */
  async open(load, show) {
    this.#load = load;
    this.#show = show;
    this.#nextPageToken = "";
    this.#shown = 0;
    this.#more.hidden = true;
    if (this.#empty !== null) {
      this.#empty.hidden = true;
    }
    await this.#loadPage(load);
  }

  async #loadPage(load) {
    this.#error.hidden = true;
    try {
      const { items, nextPageToken } = await load(this.#nextPageToken);
      if (load !== this.#load) {
        return; // another list has been opened meanwhile
      }
      this.#show(items);
      this.#nextPageToken = nextPageToken;
      this.#shown += items.length;
      this.#more.hidden = nextPageToken === "";
      if (this.#empty !== null) {
        this.#empty.hidden = this.#shown > 0;
      }
    } catch (error) {
      if (load === this.#load) {
        this.#error.textContent = messageOf(error);
        this.#error.hidden = false;
        this.#more.hidden = false; // to try again
      }
    }
  }
}
