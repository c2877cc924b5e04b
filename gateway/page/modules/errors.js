// Failed calls.

const TYPE = "type.googleapis.com/google.rpc.";
// A call that failed with one of these codes may succeed when it is repeated.
const DEADLINE_EXCEEDED = 4;
const RESOURCE_EXHAUSTED = 8;
const UNAVAILABLE = 14;
const TEMPORARY = new Set([DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNAVAILABLE]);

/** A call that failed; its message says what is wrong and what to do. */
export class CallError extends Error {
  /** The reason of the ErrorInfo, such as USERNAME_TAKEN; "" if the service did not answer. */
  reason = "";
  /** What each field of the request must be, by the name of the field. */
  fields = new Map();
  /** Whether the same call may succeed later. */
  isTemporary = false;
  /** How long the service wants its caller to wait, in milliseconds. */
  retryMs = 0;
}

/** Return the error of a call that got no answer. */
export function noAnswer() {
  const error = new CallError(
    navigator.onLine
      ? "Fanfare does not answer. Check that it runs, and try again."
      : "This device is offline. Try again when it is connected.",
  );
  error.isTemporary = true;
  return error;
}

/** Return the error of an HTTP response whose status is not one of success. */
export async function errorOfResponse(response) {
  try {
    return errorOfStatus(await response.json());
  } catch {
    // A proxy has answered, or the connection broke off.
    const error = new CallError(`The server answered with status ${response.status}. Try again.`);
    error.isTemporary = response.status >= 500;
    return error;
  }
}

/** Return the error that a google.rpc.Status in JSON describes. */
export function errorOfStatus(status) {
  const error = new CallError(sentence(status.message));
  error.isTemporary = TEMPORARY.has(status.code);
  for (const detail of status.details) {
    switch (detail["@type"]) {
      case `${TYPE}ErrorInfo`:
        error.reason = detail.reason;
        if (detail.metadata?.field) {
          error.fields.set(detail.metadata.field, status.message);
        }
        break;
      case `${TYPE}BadRequest`:
        for (const { field, description } of detail.field_violations) {
          error.fields.set(field, description);
        }
        break;
      case `${TYPE}RetryInfo`:
        error.retryMs = 1000 * Number.parseFloat(detail.retry_delay);
        break;
      default: // of no use here
    }
  }
  return error;
}

/** Return an error message of gRPC, which begins with a small letter, as a sentence. */
export function sentence(message) {
  const text = message.charAt(0).toUpperCase() + message.slice(1);
  return /[.!?]$/.test(text) ? text : `${text}.`;
}
