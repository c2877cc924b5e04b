import {
  create,
  type DescMessage,
  type DescMethodStreaming,
  type DescMethodUnary,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import {
  type ContextValues,
  type StreamResponse,
  type Transport,
  type UnaryResponse,
} from "@connectrpc/connect";

import { FanfareError } from "./errors.js";
import { withRequestIds } from "./requests.js";
import { isRetryable, retryDelayMs, sleep } from "./retries.js";
import { DEFAULT_TIMEOUT_MS, isRejected, withAuthorization, type Sessions } from "./sessions.js";

/**
 * Makes calls over a transport, with what each call of Fanfare needs: a deadline, retries, the access
 * token of the session, and errors with reasons. Streams get the errors only.
 */
export class Calls implements Transport {
  readonly #transport: Transport;
  readonly #sessions: Sessions;

  constructor(transport: Transport, sessions: Sessions) {
    this.#transport = transport;
    this.#sessions = sessions;
  }

  async unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    header: HeadersInit | undefined,
    input: MessageInitShape<I>,
    contextValues?: ContextValues,
  ): Promise<UnaryResponse<I, O>> {
    const request = withRequestIds(method.input, create(method.input, input));
    const deadline = performance.now() + (timeoutMs ?? DEFAULT_TIMEOUT_MS);
    const send = (accessToken: string) =>
      repeat(deadline, signal, () =>
        this.#transport.unary(
          method,
          signal,
          Math.max(Math.ceil(deadline - performance.now()), 1),
          withAuthorization(header, accessToken),
          request as MessageInitShape<I>,
          contextValues,
        ),
      );
    const accessToken = await this.#sessions.accessToken({ deadline, signal });
    try {
      return await send(accessToken);
    } catch (cause) {
      const error = FanfareError.from(cause);
      if (!isRejected(error, accessToken)) {
        throw error;
      }
    }
    return await send(await this.#sessions.renew(accessToken, { deadline, signal }));
  }

  async stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodStreaming<I, O>,
    signal: AbortSignal | undefined,
    timeoutMs: number | undefined,
    header: HeadersInit | undefined,
    input: AsyncIterable<MessageInitShape<I>>,
    contextValues?: ContextValues,
  ): Promise<StreamResponse<I, O>> {
    try {
      const response = await this.#transport.stream(
        method,
        signal,
        timeoutMs,
        header,
        input,
        contextValues,
      );
      return { ...response, message: withTypedErrors(response.message) };
    } catch (cause) {
      throw FanfareError.from(cause);
    }
  }
}

async function* withTypedErrors<T>(messages: AsyncIterable<T>): AsyncIterable<T> {
  try {
    yield* messages;
  } catch (cause) {
    throw FanfareError.from(cause);
  }
}

/** Makes a call until it succeeds, as often as the service config says and the deadline allows. */
async function repeat<T>(
  deadline: number,
  signal: AbortSignal | undefined,
  call: () => Promise<T>,
): Promise<T> {
  for (let failures = 1; ; failures++) {
    try {
      return await call();
    } catch (cause) {
      const error = FanfareError.from(cause);
      const delay = retryDelayMs(failures, Math.random());
      if (!isRetryable(error) || delay === undefined || performance.now() + delay >= deadline) {
        throw error;
      }
      await sleep(delay, signal);
      if (signal?.aborted) {
        throw error;
      }
    }
  }
}
