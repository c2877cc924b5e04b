// A parser of Server-Sent Events, by the rules of the HTML standard (section 9.2.6).

/**
 * Takes a stream in pieces, and gives the events that they complete.
 *
 * EventSource cannot send an Authorization header, so the page reads the stream with fetch().
 */
export class EventParser {
  #rest = "";
  #type = "";
  #data = [];
  #id = "";
  #skipsNewline = false;
  /** The id that a client gives the server when it connects again; "" if there was none. */
  lastEventId = "";

  /**
   * Return what a piece of the stream completes, in order.
   *
   * @param {string} text the piece, cut anywhere; decoded, and without a byte order mark.
   * @returns {Array<object>} {kind: "event", type, data}, {kind: "retry", milliseconds}, and
   *   {kind: "comment", text}.
   */
  push(text) {
    const found = [];
    for (const line of this.#lines(text)) {
      this.#take(line, found);
    }
    return found;
  }

  /** Return the lines that a piece completes. A line ends with CR LF, LF or CR. */
  #lines(text) {
    if (this.#skipsNewline && text !== "") {
      // The piece before ended with a CR, which ended its line already.
      this.#skipsNewline = false;
      if (text.startsWith("\n")) {
        text = text.slice(1);
      }
    }
    const lines = (this.#rest + text).split(/\r\n|\n|\r/);
    this.#rest = lines.pop();
    this.#skipsNewline ||= text.endsWith("\r");
    return lines;
  }

  #take(line, found) {
    if (line === "") {
      this.#dispatch(found);
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) {
      found.push({ kind: "comment", text: line.slice(1).trim() });
      return;
    }
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    switch (name) {
      case "event":
        this.#type = value;
        break;
      case "data":
        this.#data.push(value);
        break;
      case "id":
        if (!value.includes("\0")) {
          this.#id = value;
        }
        break;
      case "retry":
        if (/^[0-9]+$/.test(value)) {
          found.push({ kind: "retry", milliseconds: Number(value) });
        }
        break;
      default: // as the standard says, other fields are ignored
    }
  }

  #dispatch(found) {
    this.lastEventId = this.#id;
    if (this.#data.length > 0) {
      const data = this.#data.join("\n");
      found.push({ kind: "event", type: this.#type || "message", data });
    }
    this.#type = "";
    this.#data = [];
  }
}
