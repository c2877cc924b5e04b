// A list of tweets on the page, whose own ones can be edited and deleted.

import { announce, byId, copyOf, fillAvatar, showNotice, showTime } from "./dom.js";
import { contentError, countIn, messageOf, onSubmit, submitOnCtrlEnter } from "./forms.js";

const CUT_OFF = 200;

export class TweetList {
  #list;
  #heading;
  #api;
  #names;
  #userId;
  #items = new Map();

  /**
   * @param {HTMLElement} list the list on the page.
   * @param {HTMLElement} heading its heading, which gets the focus if the list becomes empty.
   * @param {object} parts api, names, and the userId of who uses the page.
   */
  constructor(list, heading, { api, names, userId }) {
    this.#list = list;
    this.#heading = heading;
    this.#api = api;
    this.#names = names;
    this.#userId = userId;
    list.replaceChildren();
  }

  /** Show these tweets in this order, and leave the elements of those that are there in place. */
  show(tweets) {
    const ids = new Set(tweets.map((tweet) => tweet.id));
    for (const id of [...this.#items.keys()]) {
      if (!ids.has(id)) {
        this.#remove(id);
      }
    }
    tweets.forEach((tweet, index) => {
      const item = this.#shown(tweet);
      if (this.#list.children[index] !== item) {
        this.#list.insertBefore(item, this.#list.children[index] ?? null);
      }
    });
  }

  /** Show more tweets, below the others. */
  append(tweets) {
    this.#list.append(...tweets.map((tweet) => this.#shown(tweet)));
  }

  #shown(tweet) {
    let known = this.#items.get(tweet.id);
    if (known === undefined) {
      known = { item: this.#made(tweet.id), tweet: null };
      this.#items.set(tweet.id, known);
    }
    if (known.tweet?.updated_at !== tweet.updated_at || known.tweet.content !== tweet.content) {
      known.tweet = tweet;
      this.#fill(known.item, tweet);
    }
    return known.item;
  }

  #made(id) {
    const item = copyOf("tweet-template");
    item.querySelector(".edit").addEventListener("click", () => this.#edit(id));
    item.querySelector(".delete").addEventListener("click", () => this.#delete(id));
    return item;
  }

  #fill(item, tweet) {
    const author = item.querySelector(".author");
    author.href = `#/users/${tweet.user_id}`;
    this.#names.use(tweet.user_id, (name) => {
      author.firstElementChild.textContent = name;
      item.querySelector("article").ariaLabel = `Post by ${name}`;
      fillAvatar(item.querySelector(".avatar"), tweet.user_id, name);
    });
    item.querySelector(".content").textContent = tweet.content;
    showTime(item.querySelector("time"), tweet.created_at);
    item.querySelector(".edited").hidden = tweet.updated_at === tweet.created_at;
    item.querySelector(".actions").hidden = tweet.user_id !== this.#userId;
  }

  #remove(id) {
    const { item } = this.#items.get(id);
    const hadFocus = item.contains(document.activeElement);
    const next = item.nextElementSibling ?? item.previousElementSibling;
    item.remove();
    this.#items.delete(id);
    if (hadFocus) {
      (next?.querySelector("a") ?? this.#heading).focus();
    }
  }

  #edit(id) {
    const { item, tweet } = this.#items.get(id);
    const content = item.querySelector(".content");
    const actions = item.querySelector(".actions");
    const form = copyOf("edit-template");
    const textarea = form.querySelector("textarea");
    textarea.id = `edit-${id}`;
    form.querySelector("label").htmlFor = textarea.id;
    form.querySelector(".count").id = `edit-count-${id}`;
    textarea.setAttribute("aria-describedby", `edit-count-${id}`);
    textarea.value = tweet.content;
    countIn(textarea, form.querySelector(".count"));
    submitOnCtrlEnter(textarea);

    const close = () => {
      form.remove();
      content.hidden = false;
      actions.hidden = false;
      item.querySelector(".edit").focus();
    };
    form.querySelector(".cancel").addEventListener("click", close);
    form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        close();
      }
    });
    onSubmit(form, async (fields) => {
      const problem = contentError(fields.content);
      if (problem !== null) {
        throw problem;
      }
      const answer = await this.#api.command("PUT", `tweets/${id}`, fields, { isRepeatable: true });
      this.#shown(answer.tweet);
      close();
      announce("Post saved");
    });

    content.hidden = true;
    actions.hidden = true;
    content.after(form);
    textarea.focus();
  }

  async #delete(id) {
    const { tweet } = this.#items.get(id);
    if (!(await confirmDeletion(tweet.content))) {
      return;
    }
    showNotice("");
    try {
      await this.#api.command("DELETE", `tweets/${id}`, null, { isRepeatable: true });
    } catch (error) {
      // It is gone: by an attempt whose answer was lost, or in another tab.
      if (error.reason !== "TWEET_NOT_FOUND") {
        showNotice(messageOf(error));
        return;
      }
    }
    if (this.#items.has(id)) {
      this.#remove(id);
    }
    announce("Post deleted");
  }
}

function confirmDeletion(content) {
  const dialog = byId("confirm");
  byId("confirm-text").textContent =
    content.length > CUT_OFF ? `${content.slice(0, CUT_OFF)}…` : content;
  return new Promise((resolve) => {
    byId("confirm-yes").onclick = () => {
      resolve(true);
      dialog.close();
    };
    byId("confirm-no").onclick = () => dialog.close();
    dialog.onclose = () => {
      // The event comes late: the dialog may be open again, for another question.
      if (!dialog.open) {
        resolve(false);
      }
    };
    dialog.showModal();
    byId("confirm-no").focus();
  });
}
