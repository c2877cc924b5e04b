// The views of people: all of them, and one with their tweets, followers and follows.

import { byId, copyOf, dateOf, fillAvatar } from "./dom.js";
import { pathOf } from "./access.js";
import { onSubmit } from "./forms.js";
import { PagedList } from "./pages.js";
import { TweetList } from "./tweets.js";

const LIMIT = 20;
const NOTHING = {
  tweets: "No posts yet.",
  followers: "No followers yet.",
  following: "Follows nobody yet.",
};

/** Have the form that finds somebody do its work; current() returns {api} of who uses the page. */
export function connectFind(current) {
  const form = byId("find");
  onSubmit(form, async ({ username }) => {
    const { user } = await current().api.query(pathOf(username));
    form.reset();
    location.hash = `#/users/${user.id}`;
  });
}

export class People {
  #parts;
  #people;
  #list;

  /** @param {object} parts api, names, follows and userId. */
  constructor(parts) {
    this.#parts = parts;
    this.#people = pagedListIn("view-people", "people-more", null);
    this.#list = pagedListIn("view-user", "user-more", byId("user-empty"));
  }

  /** Show all people. */
  openAll() {
    const list = byId("people");
    list.replaceChildren();
    this.#people.open(
      (pageToken) => this.#page("users", "users", pageToken),
      (users) => this.#appendPeople(list, users),
    );
  }

  /** Return a user; throw a CallError if there is none. */
  async read(userId) {
    const { user } = await this.#parts.api.query(`users/${userId}`);
    this.#parts.names.put(user);
    return user;
  }

  /**
   * Show a user.
   *
   * @param {object} user whom.
   * @param {string} tab what of them: tweets, followers or following.
   */
  openUser(user, tab) {
    byId("user-heading").replaceChildren(isolated(user.username));
    byId("user-bio").textContent = user.bio;
    byId("user-since").textContent = `Here since ${dateOf(user.created_at)}`;
    this.#parts.follows.addButton(byId("user-follow"), user);
    for (const link of byId("user-nav").children) {
      const { tab: each } = link.dataset;
      link.href = each === "tweets" ? `#/users/${user.id}` : `#/users/${user.id}/${each}`;
      link.ariaCurrent = each === tab ? "page" : null;
    }
    byId("user-empty").textContent = NOTHING[tab];
    this.#openTab(user.id, tab);
  }

  #openTab(userId, tab) {
    const list = byId("user-list");
    list.replaceChildren();
    if (tab === "tweets") {
      const tweets = new TweetList(list, byId("user-heading"), this.#parts);
      this.#list.open(
        (pageToken) => this.#page(`tweets/user/${userId}`, "tweets", pageToken),
        (some) => tweets.append(some),
      );
    } else {
      this.#list.open(
        (pageToken) => this.#page(`${tab}/${userId}`, "users", pageToken),
        (users) => this.#appendPeople(list, users),
      );
    }
  }

  async #page(path, field, pageToken) {
    const page = await this.#parts.api.query(path, { limit: LIMIT, page_token: pageToken });
    return { items: page[field], nextPageToken: page.next_page_token };
  }

  #appendPeople(list, users) {
    for (const user of users) {
      this.#parts.names.put(user);
      const item = copyOf("person-template");
      fillAvatar(item.querySelector(".avatar"), user.id, user.username);
      const author = item.querySelector(".author");
      author.href = `#/users/${user.id}`;
      author.firstElementChild.textContent = user.username;
      item.querySelector(".bio").textContent = user.bio;
      list.append(item);
      this.#parts.follows.addButton(item.querySelector(".follow"), user);
    }
  }
}

function isolated(text) {
  const element = document.createElement("bdi");
  element.textContent = text;
  return element;
}

function pagedListIn(viewId, moreId, empty) {
  const more = byId(moreId).cloneNode(true); // without what an earlier user's list had attached
  byId(moreId).replaceWith(more);
  return new PagedList({ more, error: byId(viewId).querySelector(".list-error"), empty });
}
