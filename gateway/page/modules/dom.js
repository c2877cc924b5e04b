// Small things that every view needs. Texts of users reach the document by textContent only.

const ANNOUNCED_MILLISECONDS = 5000;

export function byId(id) {
  return document.getElementById(id);
}

/** Return a copy of the element in a template. */
export function copyOf(templateId) {
  return byId(templateId).content.firstElementChild.cloneNode(true);
}

/** Have a screen reader say something when it has finished what it is saying. */
export function announce(text) {
  const announcer = byId("announcer");
  announcer.textContent = text;
  setTimeout(() => {
    if (announcer.textContent === text) {
      announcer.textContent = ""; // so that the same text can be said again
    }
  }, ANNOUNCED_MILLISECONDS);
}

/** Show a message above all views; an empty one removes it. */
export function showNotice(text) {
  const notice = byId("notice");
  notice.textContent = text;
  notice.hidden = text === "";
}

/** Give an avatar the initial of a name, and a colour that depends on the user's id. */
export function fillAvatar(avatar, userId, username) {
  avatar.textContent = username.charAt(0).toUpperCase();
  // The golden angle, so that neighbouring ids have colours that are far apart.
  avatar.style.setProperty("--hue", String(Math.round(Number(BigInt(userId) % 360n) * 137.5) % 360));
}

const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const ABSOLUTE = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "medium" });
const DATE = new Intl.DateTimeFormat("en", { dateStyle: "medium" });
export const CLOCK = new Intl.DateTimeFormat("en", { timeStyle: "medium" });

/** Show in a time element how long ago something was. */
export function showTime(element, instant) {
  element.dateTime = instant;
  element.title = ABSOLUTE.format(new Date(instant));
  element.textContent = ago(new Date(instant));
}

/** Let all times on the page be right again, as time has gone on. */
export function showTimesAgain() {
  for (const element of document.querySelectorAll("time[datetime]")) {
    const text = ago(new Date(element.dateTime));
    if (element.textContent !== text) {
      element.textContent = text;
    }
  }
}

export function dateOf(instant) {
  return DATE.format(new Date(instant));
}

function ago(instant) {
  const seconds = Math.min((instant - Date.now()) / 1000, 0); // the clocks may differ
  if (seconds > -45) {
    return "just now";
  }
  if (seconds > -3600) {
    return RELATIVE.format(Math.round(seconds / 60), "minute");
  }
  if (seconds > -86_400) {
    return RELATIVE.format(Math.round(seconds / 3600), "hour");
  }
  return DATE.format(instant);
}
