// The page: a client of Fanfare's public REST API, and of nothing else.

import { connectAccess } from "./modules/access.js";
import { Account } from "./modules/account.js";
import { Api, bodyOf, send, urlOf } from "./modules/api.js";
import { byId, showNotice, showTimesAgain } from "./modules/dom.js";
import { Follows } from "./modules/follows.js";
import { messageOf } from "./modules/forms.js";
import { Home, connectCompose } from "./modules/home.js";
import { Names } from "./modules/names.js";
import { People, connectFind } from "./modules/people.js";

const TIMES_MILLISECONDS = 30_000;
const START_AGAIN_MILLISECONDS = 2000;
const VIEWS = ["access", "home", "people", "user"];
const TABS = ["tweets", "followers", "following"];

class Page {
  #heartbeatMs;
  #account;
  #api;
  /** What there is while somebody is signed in; null otherwise. */
  #signedIn = null;
  #home = null;
  #turn = 0;

  /**
   * @param {URL} readUrl where the page is, and where queries go.
   * @param {object} config page-config.json.
   * @param {boolean} hasAuthentication whether this installation asks for passwords.
   */
  constructor(readUrl, config, hasAuthentication) {
    const writeUrl = config.write_url === null ? null : new URL(config.write_url, readUrl);
    this.#heartbeatMs = 1000 * config.heartbeat_seconds;
    this.#account = new Account(writeUrl, (reason) => this.#leave(reason));
    this.#api = new Api(readUrl, writeUrl, this.#account);
    connectAccess(this.#api, hasAuthentication, (user, session) => {
      this.#account.signIn(user, session);
      this.#enter();
    });
    connectCompose(() => this.#signedIn);
    connectFind(() => this.#signedIn);
    byId("sign-out").addEventListener("click", () => {
      this.#account.signOut();
      this.#leave("");
    });
    byId("skip").addEventListener("click", (event) => {
      event.preventDefault();
      byId("main").focus();
    });
    window.addEventListener("hashchange", () => this.#route({ movesFocus: true }));
    setInterval(showTimesAgain, TIMES_MILLISECONDS);
  }

  /** Show what the address names, or the forms to sign in. */
  open() {
    this.#account.restore();
    if (this.#account.user === null) {
      this.#show("access", "Sign in", { movesFocus: false });
    } else {
      this.#enter({ movesFocus: false });
    }
  }

  #enter({ movesFocus = true } = {}) {
    const { user } = this.#account;
    const api = this.#api;
    const names = new Names(api);
    names.put(user);
    const follows = new Follows(api, user.id, () => this.#home?.refresh());
    const parts = { api, names, follows, userId: user.id, heartbeatMs: this.#heartbeatMs };
    this.#signedIn = { ...parts, people: new People(parts) };
    byId("who-name").textContent = user.username;
    byId("who").hidden = false;
    byId("nav").hidden = false;
    this.#home = new Home(parts, (error) => {
      this.#account.signOut();
      this.#leave(error.message);
    });
    this.#route({ movesFocus });
  }

  #leave(reason) {
    this.#turn += 1; // a view that is still loading does not appear
    this.#home?.stop();
    this.#home = null;
    this.#signedIn = null;
    byId("who").hidden = true;
    byId("nav").hidden = true;
    byId("compose").reset();
    history.replaceState(null, "", "#/");
    this.#show("access", "Sign in", { movesFocus: true });
    showNotice(reason);
  }

  /** Show the view that the address names. */
  async #route({ movesFocus }) {
    this.#turn += 1;
    const turn = this.#turn;
    if (this.#signedIn === null) {
      return;
    }
    const { people, follows, userId } = this.#signedIn;
    const [view, id, tab] = location.hash.replace(/^#\/?/, "").split("/");
    const isUser = view === "me" || (view === "users" && /^[0-9]+$/.test(id));
    if (view !== "people" && !isUser) {
      this.#show("home", "Home", { movesFocus });
      return;
    }
    try {
      await follows.load();
      const user = isUser ? await people.read(view === "me" ? userId : id) : null;
      if (turn !== this.#turn) {
        return; // the address has changed meanwhile
      }
      if (user === null) {
        people.openAll();
        this.#show("people", "People", { movesFocus });
      } else {
        people.openUser(user, TABS.includes(tab) ? tab : "tweets");
        this.#show("user", user.username, { movesFocus });
      }
    } catch (error) {
      if (turn === this.#turn) {
        showNotice(messageOf(error));
      }
    }
  }

  #show(view, title, { movesFocus }) {
    showNotice("");
    for (const each of VIEWS) {
      byId(`view-${each}`).hidden = each !== view;
    }
    for (const link of byId("nav").children) {
      link.ariaCurrent = link.hash === (location.hash || "#/") ? "page" : null;
    }
    document.title = `${title} · Fanfare`;
    if (movesFocus) {
      byId(`${view}-heading`).focus();
      window.scrollTo(0, 0);
    }
  }
}

async function start() {
  const readUrl = new URL(".", document.baseURI);
  const read = async (path) => await bodyOf(await send(urlOf(path, readUrl), {}));
  for (;;) {
    try {
      const [config, health] = await Promise.all([read("page-config.json"), read("health")]);
      showNotice("");
      new Page(readUrl, config, health.authentication === "on").open();
      return;
    } catch (error) {
      showNotice(messageOf(error));
      if (!error.isTemporary) {
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, START_AGAIN_MILLISECONDS));
    }
  }
}

start();
