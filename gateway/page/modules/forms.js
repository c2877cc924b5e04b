// Forms: what happens when they are submitted, and how their errors are shown.

import { announce } from "./dom.js";
import { CallError } from "./errors.js";
import { MAX_CODE_POINTS, contentProblem, countCodePoints, normaliseContent } from "./text.js";

const FEW_LEFT = 20;

/**
 * Call a function when a form is submitted, and show the error that it throws.
 *
 * @param {HTMLFormElement} form has an element of the class form-error, and one of the class error
 *   for each field.
 * @param {Function} submit takes the fields by their names. The form cannot be submitted again
 *   before it has returned.
 */
export function onSubmit(form, submit) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.ariaBusy === "true") {
      return;
    }
    form.ariaBusy = "true";
    setReadOnly(form, true);
    clearErrors(form);
    let failure = null;
    try {
      await submit(Object.fromEntries(new FormData(form)));
    } catch (error) {
      failure = error;
    }
    form.ariaBusy = "false";
    setReadOnly(form, false);
    if (failure !== null) {
      showError(form, failure);
    }
  });
}

/** Return an error for one field of a form. */
export function fieldError(name, problem) {
  const error = new CallError(problem);
  error.fields.set(name, problem);
  return error;
}

/** Return the error for a text that the service would refuse; null if it would not. */
export function contentError(content) {
  const problem = contentProblem(content);
  return problem === null ? null : fieldError("content", problem);
}

/** Return the sentence for an error of any kind. */
export function messageOf(error) {
  if (error instanceof CallError) {
    return error.message;
  }
  console.error(error);
  return `This page has a fault (${error}). Load it again.`;
}

/** Remove all errors of a form. */
export function clearErrors(form) {
  showFormError(form, "");
  for (const input of form.elements) {
    if (input.name) {
      showFieldError(input, "");
    }
  }
}

/** Show how long a text is in the way that the service counts; return what does so again. */
export function countIn(textarea, counter) {
  let level = 0;
  const update = () => {
    const count = countCodePoints(normaliseContent(textarea.value));
    const left = MAX_CODE_POINTS - count;
    const over = left < 0 ? `, ${-left} too many` : "";
    counter.textContent = `${count} of ${MAX_CODE_POINTS}${over}`;
    counter.classList.toggle("near", left <= FEW_LEFT);
    counter.classList.toggle("over", left < 0);
    // Screen readers are told when it matters, and not at each key.
    const now = Number(left <= FEW_LEFT) + Number(left < 0);
    if (now > level) {
      announce(left < 0 ? `${-left} characters too many` : `${left} characters left`);
    }
    level = now;
  };
  textarea.addEventListener("input", update);
  update();
  return update;
}

/** Let Ctrl+Enter in a text submit its form, since Enter begins a line. */
export function submitOnCtrlEnter(textarea) {
  textarea.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      textarea.form.requestSubmit();
    }
  });
}

function showError(form, error) {
  const left = [];
  let first = null;
  for (const [name, problem] of error.fields ?? []) {
    const input = form.elements.namedItem(name);
    if (input === null) {
      left.push(`${name}: ${problem}`);
    } else {
      // The service tells a broken pattern as the pattern.
      showFieldError(input, problem.includes("regex") ? input.dataset.rule : problem);
      first ??= input;
    }
  }
  if (first === null) {
    showFormError(form, messageOf(error));
  } else {
    showFormError(form, left.join("; "));
    first.focus();
  }
}

function showFormError(form, text) {
  const place = form.querySelector(".form-error");
  place.textContent = text;
  place.hidden = text === "";
}

function showFieldError(input, problem) {
  const place = input.closest(".field").querySelector(".error");
  place.id ||= `${input.id}-error`;
  place.textContent = problem;
  place.hidden = problem === "";
  const others = (input.getAttribute("aria-describedby") ?? "")
    .split(" ")
    .filter((id) => id !== "" && id !== place.id);
  input.setAttribute("aria-describedby", [...others, ...(problem ? [place.id] : [])].join(" "));
  input.setAttribute("aria-invalid", String(problem !== ""));
}

function setReadOnly(form, isReadOnly) {
  for (const input of form.querySelectorAll("input, textarea")) {
    input.readOnly = isReadOnly;
  }
}
