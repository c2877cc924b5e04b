import { Code, ConnectError } from "@connectrpc/connect";

import { ErrorReason } from "./gen/fanfare/errors/v1/errors_pb.js";
import { ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";

const DOMAIN = "fanfare";

/** A call failed. Every call of a Client that fails throws one. */
export class FanfareError extends Error {
  override readonly name = "FanfareError";

  constructor(
    /** The status code. */
    readonly code: Code,
    /** What went wrong, for people. Its wording may change, so do not parse it. */
    message: string,
    /**
     * Why the call failed. UNSPECIFIED if Fanfare gave no reason, as when the deadline passed or no
     * server was reached, or one that this version does not know.
     */
    readonly reason: ErrorReason = ErrorReason.UNSPECIFIED,
    /** What the error is about, such as `{ user_id: "7" }`. */
    readonly metadata: Readonly<Record<string, string>> = {},
    /** How long to wait before the call is repeated; 0 if the server did not say. */
    readonly retryDelayMs = 0,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  /** Returns what a call failed with as a FanfareError. */
  static from(cause: unknown): FanfareError {
    if (cause instanceof FanfareError) {
      return cause;
    }
    const error = ConnectError.from(cause);
    const info = error.findDetails(ErrorInfoSchema).find((detail) => detail.domain === DOMAIN);
    const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
    return new FanfareError(
      error.code,
      error.rawMessage,
      ErrorReason[info?.reason as keyof typeof ErrorReason] ?? ErrorReason.UNSPECIFIED,
      info?.metadata,
      delay === undefined ? 0 : Number(delay.seconds) * 1000 + delay.nanos / 1e6,
      { cause },
    );
  }
}
