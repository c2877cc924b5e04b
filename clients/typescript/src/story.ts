// The conformance story of Fanfare's clients: `node dist/story.js node WRITE_TARGET READ_TARGET`, or
// `node dist/story.js web WRITE_URL READ_URL` for the transport of browsers.
//
// Prints `ok STEP` after each step. After `ok watch sees a removal` it reads a line, so that its
// connections can be cut in the meantime.
import assert from "node:assert/strict";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";

import {
  Code,
  ErrorReason,
  pages,
  type Client,
  type FanfareError,
  type Tweet,
  type User,
} from "./index.js";
import { connectNode } from "./node.js";
import { connectWeb } from "./web.js";

const NOBODY = 2n ** 53n + 1n; // no user has this id, and a number that is not a bigint rounds it

async function tell(client: Client): Promise<void> {
  const [author, reader] = [await signUp(client), await signUp(client)];
  done("sign up");
  await client.write.followUser({ followerId: reader.id, followedId: author.id });
  done("follow");
  await readAndPage(client, author, reader);
  await watch(client, author, reader);
  await fail(client, reader);
  await postTwice(client, author);
}

async function signUp(client: Client): Promise<User> {
  const username = `u${crypto.randomUUID().replaceAll("-", "").slice(0, 16)}`;
  const { user } = await client.write.createUser({
    username,
    email: `${username}@example.com`,
    password: crypto.randomUUID(),
  });
  return user!;
}

async function readAndPage(client: Client, author: User, reader: User): Promise<void> {
  const posted = await client.write.createTweet({ userId: author.id, content: "the first" });
  const { tweets } = await client.read.getHomeTimeline({
    userId: reader.id,
    consistencyToken: posted.consistencyToken,
  });
  assert.deepEqual(ids(tweets), [posted.tweet!.id]);
  done("post and read with the token");

  const requests = Array.from({ length: 250 }, (_, number) => ({
    userId: author.id,
    content: `tweet ${number}`,
  }));
  const batch = await client.write.batchCreateTweets({ requests });
  const request = { userId: reader.id, limit: 100, consistencyToken: batch.consistencyToken };
  const found: bigint[][] = [];
  for await (const page of pages(client.read.getHomeTimeline, request)) {
    found.push(ids(page.tweets));
  }
  assert.deepEqual(
    found.map((page) => page.length),
    [100, 100, 51],
  );
  const created = batch.results.map(({ result }) => (result.value as Tweet).id);
  assert.deepEqual(found.flat(), [posted.tweet!.id, ...created].reverse());
  done("page to the end");
}

async function watch(client: Client, author: User, reader: User): Promise<void> {
  const timelines = client.watch(reader.id);
  const waitFor = async (shows: (newest: Tweet) => boolean) => {
    for (;;) {
      const { value } = await timelines.next();
      assert.equal(value?.length, 20);
      if (shows(value[0]!)) {
        return;
      }
    }
  };
  await waitFor(() => true);

  const { tweet } = await client.write.createTweet({ userId: author.id, content: "seen live" });
  await waitFor(({ id }) => id === tweet!.id);
  done("watch sees a new tweet");

  await client.write.updateTweet({ tweetId: tweet!.id, content: "seen edited" });
  await waitFor(({ content }) => content === "seen edited");
  done("watch sees an edit");

  await client.write.deleteTweet({ tweetId: tweet!.id });
  await waitFor(({ id }) => id < tweet!.id);
  done("watch sees a removal");

  const input = createInterface({ input: process.stdin });
  await Promise.race([once(input, "line"), once(input, "close")]);
  input.close();
  const again = await client.write.createTweet({ userId: author.id, content: "after the cut" });
  await waitFor(({ id }) => id === again.tweet!.id);
  await timelines.return();
  done("watch resumes after its connection is cut");
}

async function fail(client: Client, reader: User): Promise<void> {
  await assert.rejects(client.read.getUser({ userId: NOBODY }), (error: FanfareError) => {
    assert.equal(error.code, Code.NotFound);
    assert.equal(error.reason, ErrorReason.USER_NOT_FOUND);
    assert.deepEqual(error.metadata, { user_id: String(NOBODY) });
    return true;
  });
  done("typed error");

  // A stream, because an answer could come within the shortest deadline that there is, 1 ms.
  const events = client.read.watchHomeTimeline({ userId: reader.id }, { timeoutMs: 50 });
  await assert.rejects(
    async () => {
      for await (const _ of events);
    },
    (error: FanfareError) => error.code === Code.DeadlineExceeded,
  );
  done("deadline exceeded");
}

async function postTwice(client: Client, author: User): Promise<void> {
  const request = { userId: author.id, content: "only once", requestId: crypto.randomUUID() };
  const first = await client.write.createTweet(request);
  const second = await client.write.createTweet(request);
  assert.deepEqual(first.tweet, second.tweet);
  done("request_id makes a retry safe");
}

function ids(tweets: Tweet[]): bigint[] {
  return tweets.map(({ id }) => id);
}

function done(step: string): void {
  console.log(`ok ${step}`);
}

const [mode, write = "", read = ""] = process.argv.slice(2);
if (mode === "web") {
  await tell(connectWeb(write, read));
} else {
  const client = connectNode(write, read);
  await tell(client);
  client.close();
}
