// Whom the user follows.

import { announce, showNotice } from "./dom.js";
import { messageOf } from "./forms.js";

const PAGE = 100;

export class Follows {
  #api;
  #userId;
  #onChange;
  #ids = new Set();
  #buttons = new Set();

  /**
   * @param {Api} api where follows are read and changed.
   * @param {string} userId whose follows these are.
   * @param {Function} onChange is called when one was changed.
   */
  constructor(api, userId, onChange) {
    this.#api = api;
    this.#userId = userId;
    this.#onChange = onChange;
  }

  /** Read whom the user follows. */
  async load() {
    const ids = new Set();
    let pageToken = "";
    do {
      const page = await this.#api.query(`following/${this.#userId}`, {
        limit: PAGE,
        page_token: pageToken,
      });
      page.users.forEach((user) => ids.add(user.id));
      pageToken = page.next_page_token;
    } while (pageToken !== "");
    this.#ids = ids;
    this.#showAll();
  }

  /** Put a button that follows and unfollows somebody into an element. */
  addButton(place, user) {
    place.replaceChildren();
    if (user.id === this.#userId) {
      return;
    }
    const button = document.createElement("button");
    button.type = "button";
    button.addEventListener("click", () => this.#toggle(entry));
    const entry = { button, user, isBusy: false };
    this.#buttons.add(entry);
    this.#show(entry);
    place.append(button);
  }

  async #toggle(entry) {
    if (entry.isBusy) {
      return;
    }
    const { id, username } = entry.user;
    const follows = this.#ids.has(id);
    entry.isBusy = true;
    showNotice("");
    try {
      if (follows) {
        await this.#api.command("DELETE", `followers/${this.#userId}/${id}`, null, {
          isRepeatable: true,
        });
        this.#ids.delete(id);
      } else {
        const body = { follower_id: this.#userId, followed_id: id };
        await this.#api.command("POST", "followers", body, { isRepeatable: true });
        this.#ids.add(id);
      }
      announce(follows ? `You no longer follow ${username}` : `You follow ${username}`);
      this.#onChange();
    } catch (error) {
      showNotice(messageOf(error));
    } finally {
      entry.isBusy = false;
      this.#showAll();
    }
  }

  #showAll() {
    for (const entry of this.#buttons) {
      if (entry.button.isConnected) {
        this.#show(entry);
      } else {
        this.#buttons.delete(entry);
      }
    }
  }

  #show({ button, user }) {
    const follows = this.#ids.has(user.id);
    button.textContent = follows ? "Unfollow" : "Follow";
    button.ariaLabel = `${button.textContent} ${user.username}`;
    button.classList.toggle("quiet", follows);
  }
}
