import { Code } from "@connectrpc/connect";

import { type FanfareError } from "./errors.js";
import { ErrorReason } from "./gen/fanfare/errors/v1/errors_pb.js";
import { serviceConfig } from "./gen/service_config.js";

const policy = serviceConfig.methodConfig[0]!.retryPolicy;

/** Returns a duration of the service config, such as "0.1s", in milliseconds. */
function milliseconds(duration: string): number {
  return Number.parseFloat(duration) * 1000;
}

/** Returns whether the service config says that a call with this error is repeated. */
export function isRetryable(error: FanfareError): boolean {
  // For Connect in Node.js a connection that is reset has aborted its calls; for gRPC it is unavailable.
  const isReset = error.code === Code.Aborted && error.reason === ErrorReason.UNSPECIFIED;
  const name = Code[isReset ? Code.Unavailable : error.code].toUpperCase();
  return policy.retryableStatusCodes.some((each) => each.replaceAll("_", "") === name);
}

/**
 * Returns how long to wait after some failed attempts; undefined if there were enough.
 *
 * @param chance - a random number from 0 to 1
 */
export function retryDelayMs(failures: number, chance: number): number | undefined {
  if (failures >= policy.maxAttempts) {
    return undefined;
  }
  const grown = milliseconds(policy.initialBackoff) * policy.backoffMultiplier ** (failures - 1);
  return Math.min(grown, milliseconds(policy.maxBackoff)) * (0.8 + 0.4 * chance);
}

/** Waits, but not longer than until the signal is aborted. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal?.addEventListener("abort", end);
    if (signal?.aborted) {
      end();
    }
  });
}
