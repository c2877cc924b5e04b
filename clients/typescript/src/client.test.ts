// The client over Connect's in-memory transport.
import assert from "node:assert/strict";
import { test } from "node:test";

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
): Client {
  const transport = createRouterTransport(({ service }) => {
    service(ReadService, read);
    service(AuthService, auth);
    service(WriteService, write);
  });
  const options = first === undefined ? {} : { session: first };
  return new Client(transport, transport, options);
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
      return { tweet: { id: 1n } };
    },
  });
  const { tweet } = await write.createTweet({ userId: 1n, content: "hello" });
  assert.equal(tweet?.id, 1n);
  assert.equal(ids.length, 2);
  assert.match(ids[0]!, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(ids[1], ids[0]);
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
