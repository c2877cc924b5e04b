// Texts as the write service stores them, so that the counter counts as it does.

export const MAX_CODE_POINTS = 280;
// At most this many code points of a text become one code point in normalisation form C.
const LONGEST_DECOMPOSITION = 4;

// What Python calls white space. JavaScript's trim() takes the byte order mark for white space too,
// and does not know U+001C to U+001F and U+0085.
const SPACE = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const LEADING_SPACE = new RegExp(`^[${SPACE}]+`);
const SPACE_ONLY = new RegExp(`^[${SPACE}]$`);
// Control characters other than tabs and line ends.
const CONTROL = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]/;

/** Return the number of code points of a text. */
export function countCodePoints(text) {
  let count = 0;
  for (const _ of text) {
    count += 1;
  }
  return count;
}

/**
 * Return a text as the write service stores it: without white space at either end, with every line
 * end as a newline, in Unicode normalisation form C.
 */
export function normaliseContent(content) {
  const text = strip(content).replace(/\r\n?/g, "\n");
  // The service does not normalise what is too long in any form.
  if (countCodePoints(text) > MAX_CODE_POINTS * LONGEST_DECOMPOSITION) {
    return text;
  }
  return strip(text.normalize("NFC"));
}

/**
 * Return what is wrong with a text, in the words of the write service; null if nothing is.
 *
 * @param {string} content what a user has typed.
 */
export function contentProblem(content) {
  if (CONTROL.test(content)) {
    return "must not contain control characters other than tabs and line ends";
  }
  const count = countCodePoints(normaliseContent(content));
  if (count === 0) {
    return "must not be empty or only white space";
  }
  if (count > MAX_CODE_POINTS) {
    return `must be at most ${MAX_CODE_POINTS} code points, has ${count}`;
  }
  return null;
}

function strip(text) {
  let end = text.length;
  // A regular expression for the end would take the square of the length of inner white space.
  while (end > 0 && SPACE_ONLY.test(text[end - 1])) {
    end -= 1;
  }
  return text.slice(0, end).replace(LEADING_SPACE, "");
}
