// The client over Connect's in-memory transport.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo } from "node:net";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  Code,
  ConnectError,
  createRouterTransport,
  type HandlerContext,
  type ServiceImpl,
} from "@connectrpc/connect";

import { Client } from "./client.js";
import { FanfareError } from "./errors.js";
import { AuthService, SessionSchema } from "./gen/fanfare/auth/v1/auth_pb.js";
import { ErrorReason } from "./gen/fanfare/errors/v1/errors_pb.js";
import { ReadService, type WatchHomeTimelineResponseSchema } from "./gen/fanfare/read/v1/read_pb.js";
import { WriteService } from "./gen/fanfare/write/v1/write_pb.js";
import { ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { pages } from "./pages.js";
import { retryDelayMs } from "./retries.js";
import { connectWeb } from "./web.js";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

type Event = MessageInitShape<typeof WatchHomeTimelineResponseSchema>;

function error(code: Code, reason: string, metadata = {}, retryMs = 0): ConnectError {
  const nanos = retryMs * 1e6;
  return new ConnectError(`because of ${reason}`, code, undefined, [
    { desc: ErrorInfoSchema, value: { reason, domain: "fanfare", metadata } },
    { desc: RetryInfoSchema, value: { retryDelay: { nanos } } },
  ]);
}

function session(name: string, expires = Date.now() + 600_000) {
  return create(SessionSchema, {
    accessToken: `${name}-access`,
    accessExpiresAt: timestampFromMs(expires),
    refreshToken: `${name}-refresh`,
  });
}

function client(
  read: Partial<ServiceImpl<typeof ReadService>>,
  auth: Partial<ServiceImpl<typeof AuthService>> = {},
  first?: ReturnType<typeof session>,
  write: Partial<ServiceImpl<typeof WriteService>> = {},
  onSession: () => void = () => {},
): Client {
  const transport = createRouterTransport(({ service }) => {
    service(ReadService, read);
    service(AuthService, auth);
    service(WriteService, write);
  });
  const options = first === undefined ? {} : { session: first, onSession };
  return new Client(transport, transport, options);
}

/** Returns a promise, and a function that fulfils it. */
function gate(): { opened: Promise<void>; open: () => void } {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

function authorization({ requestHeader }: HandlerContext): string {
  return requestHeader.get("authorization") ?? "";
}

/** Refuses the access token of the session "first", and says which ones it saw. */
function refusingFirst(seen: string[]) {
  return (context: HandlerContext) => {
    seen.push(authorization(context));
    if (seen.at(-1) !== "Bearer second-access") {
      throw error(Code.Unauthenticated, "UNAUTHENTICATED");
    }
  };
}

test("an error says why", async () => {
  const { read } = client({
    getUser() {
      throw error(Code.NotFound, "USER_NOT_FOUND", { user_id: "7" }, 250);
    },
  });
  await assert.rejects(read.getUser({ userId: 7n }), (found) => {
    assert.ok(found instanceof FanfareError);
    assert.equal(found.code, Code.NotFound);
    assert.equal(found.reason, ErrorReason.USER_NOT_FOUND);
    assert.deepEqual(found.metadata, { user_id: "7" });
    assert.equal(found.retryDelayMs, 250);
    return true;
  });
});

test("a call is repeated while the server is unavailable, with one request id", async () => {
  const ids: string[] = [];
  const { write } = client({}, {}, undefined, {
    createTweet({ requestId }) {
      ids.push(requestId);
      if (ids.length < 2) {
        throw error(Code.Unavailable, "DATABASE_UNAVAILABLE");
      }
      if (ids.length < 3) {
        throw new ConnectError("read ECONNRESET", Code.Aborted);
      }
      return { tweet: { id: 1n } };
    },
  });
  const { tweet } = await write.createTweet({ userId: 1n, content: "hello" });
  assert.equal(tweet?.id, 1n);
  assert.equal(ids.length, 3);
  assert.match(ids[0]!, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.deepEqual(ids.slice(1), [ids[0], ids[0]]);
});

test("a watch over fetch() ends by its signal after a garbage collection", { timeout: 30_000 }, async () => {
  const asked = gate();
  // Sends the headers only.
  const server = createServer((_, response) => {
    response.writeHead(200, { "Content-Type": "application/connect+proto" });
    response.flushHeaders();
    asked.open();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const stop = new AbortController();
  const next = connectWeb(url, url).watch(1n, { signal: stop.signal }).next();
  await asked.opened;
  // So that fetch() has returned, and what it needed only for that can be collected.
  for (let turn = 0; turn < 20; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
    collectGarbage();
  }
  stop.abort();
  assert.deepEqual(await next, { done: true, value: undefined });
  server.closeAllConnections();
  server.close();
});

test("fetch() without an answer means unavailable, so that the call is repeated", async () => {
  const { read } = connectWeb("http://127.0.0.1:1", "http://127.0.0.1:1");
  await assert.rejects(
    read.getUser({}, { timeoutMs: 50 }),
    (found: FanfareError) => found.code === Code.Unavailable,
  );
});

test("delays grow, and end after five attempts", () => {
  const delays = [1, 2, 3, 4, 5].map((failures) => retryDelayMs(failures, 0.5));
  assert.deepEqual(
    delays.map((delay) => delay && Math.round(delay)),
    [100, 300, 900, 2000, undefined],
  );
});

test("calls whose token is rejected share one refresh", async () => {
  const seen: string[] = [];
  const refuse = refusingFirst(seen);
  let refreshes = 0;
  const signedIn = client(
    {
      getUser(_, context) {
        refuse(context);
        return {};
      },
    },
    {
      refreshSession({ refreshToken }) {
        assert.equal(refreshToken, "first-refresh");
        refreshes++;
        return { session: session("second") };
      },
    },
    session("first"),
  );
  await Promise.all([signedIn.read.getUser({}), signedIn.read.getUser({})]);
  assert.equal(refreshes, 1);
  assert.deepEqual(seen.slice(2), ["Bearer second-access", "Bearer second-access"]);
  assert.equal(signedIn.session?.refreshToken, "second-refresh");
});

test("an expiring token is refreshed before the call", async () => {
  const seen: string[] = [];
  const signedIn = client(
    {
      getUser(_, context) {
        seen.push(authorization(context));
        return {};
      },
    },
    { refreshSession: () => ({ session: session("second") }) },
    session("first", Date.now() + 1000),
  );
  await signedIn.read.getUser({});
  assert.deepEqual(seen, ["Bearer second-access"]);
});

test("a refused refresh token ends the session", async () => {
  const seen: string[] = [];
  const refuse = refusingFirst(seen);
  const signedIn = client(
    {
      getUser(_, context) {
        refuse(context);
        return {};
      },
    },
    {
      refreshSession() {
        throw error(Code.Unauthenticated, "INVALID_REFRESH_TOKEN");
      },
    },
    session("first"),
  );
  for (const reason of [ErrorReason.INVALID_REFRESH_TOKEN, ErrorReason.UNAUTHENTICATED]) {
    await assert.rejects(
      signedIn.read.getUser({}),
      (found: FanfareError) => found.reason === reason,
    );
  }
  assert.equal(signedIn.session, undefined);
  assert.deepEqual(seen, ["Bearer first-access", ""]);
});

test("a call waits for a refresh only until its deadline, or until it is cancelled", async () => {
  const refreshed = gate();
  const refuse = refusingFirst([]);
  const signedIn = client(
    {
      getUser(_, context) {
        refuse(context);
        return {};
      },
    },
    {
      async refreshSession() {
        await refreshed.opened;
        return { session: session("second") };
      },
    },
    session("first"),
  );
  const cancelled = new AbortController();
  const calls = [
    signedIn.read.getUser({}, { timeoutMs: 5 }),
    signedIn.read.getUser({}, { signal: cancelled.signal }),
  ];
  await assert.rejects(calls[0]!, (found: FanfareError) => found.code === Code.DeadlineExceeded);
  cancelled.abort();
  await assert.rejects(calls[1]!, (found: FanfareError) => found.code === Code.Canceled);
  refreshed.open();
  await signedIn.read.getUser({}); // with the session of the refresh that went on
});

test("a session that cannot be stored is used, because the one before is used up", async () => {
  const signedIn = client(
    { getUser: () => ({}) },
    { refreshSession: () => ({ session: session("second") }) },
    session("first", Date.now() + 1000),
    {},
    () => {
      throw new Error("the disk is full");
    },
  );
  await assert.rejects(signedIn.read.getUser({}), { message: "the disk is full" });
  assert.equal(signedIn.session?.refreshToken, "second-refresh");
});

test("pages end with the last one", async () => {
  const { read } = client({
    listUsers: ({ pageToken, offset, limit }) => ({
      users: [{ id: BigInt(10 * offset + limit) }],
      nextPageToken: pageToken === "" ? "p" : "",
    }),
  });
  const found: bigint[] = [];
  for await (const page of pages(read.listUsers, { offset: 1, limit: 2 })) {
    found.push(...page.users.map(({ id }) => id));
  }
  assert.deepEqual(found, [12n, 2n]);
});

test("a watch goes on after its stream ends, and ends with its user", async () => {
  const tweet = (id: bigint): Event => ({
    event: { case: "tweet", value: { id } },
    resumeToken: `after ${id}`,
  });
  const heartbeat: Event = { event: { case: "heartbeat", value: {} }, resumeToken: "beat" };
  const reset: Event = { event: { case: "reset", value: {} }, resumeToken: "reset" };
  const removed: Event = { event: { case: "removedTweetId", value: 1n }, resumeToken: "removed" };
  const streams: [Event[], ConnectError][] = [
    [[tweet(1n), tweet(2n), heartbeat, heartbeat, tweet(3n)], error(Code.Unavailable, "SHUTTING_DOWN")],
    [[removed, heartbeat], error(Code.InvalidArgument, "INVALID_RESUME_TOKEN")],
    [[tweet(9n), heartbeat, reset, heartbeat], error(Code.Unauthenticated, "UNAUTHENTICATED")],
    [[], error(Code.NotFound, "USER_NOT_FOUND")],
  ];
  const asked: string[] = [];
  const watching = client(
    {
      async *watchHomeTimeline({ resumeToken, consistencyToken }, context) {
        asked.push(`${resumeToken}|${consistencyToken}|${authorization(context)}`);
        const [events, end] = streams.shift()!;
        yield* events;
        throw end;
      },
    },
    { refreshSession: () => ({ session: session("second") }) },
    session("first"),
  );
  const shown: bigint[][] = [];
  await assert.rejects(
    async () => {
      for await (const tweets of watching.watch(7n, { consistencyToken: "c" })) {
        shown.push(tweets.map(({ id }) => id));
      }
    },
    (found: FanfareError) => found.reason === ErrorReason.USER_NOT_FOUND,
  );
  assert.deepEqual(shown, [[2n, 1n], [3n, 2n], [9n], []]);
  assert.deepEqual(asked, [
    "|c|Bearer first-access",
    "after 3||Bearer first-access",
    "||Bearer first-access",
    "beat||Bearer second-access",
  ]);
});

test("a watch ends with its client, and with its signal while a session is refreshed", async () => {
  const [entered, refreshed, watched] = [gate(), gate(), gate()];
  let watches = 0;
  const watching = client(
    {
      async *watchHomeTimeline(_, { signal }) {
        watches++;
        watched.open();
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    },
    {
      async refreshSession() {
        entered.open();
        await refreshed.opened;
        return { session: session("second") };
      },
    },
    session("first", Date.now() + 1000),
  );
  const stop = new AbortController();
  const first = watching.watch(7n, { signal: stop.signal }).next();
  await entered.opened;
  stop.abort();
  assert.deepEqual(await first, { done: true, value: undefined });
  assert.equal(watches, 0);

  const second = watching.watch(7n).next(); // does not wait for the refresh that goes on
  await watched.opened;
  watching.close();
  assert.deepEqual(await second, { done: true, value: undefined });
  refreshed.open();
});
