// A session over TLS, from sign-in to sign-out:
// `node dist/session_story.js WRITE_TARGET READ_TARGET TLS_FOLDER USER_ID USERNAME PASSWORD`.
//
// The folder has ca.crt, tls.crt and tls.key. The e-mail address of the user is changed.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import process from "node:process";
import { setTimeout } from "node:timers/promises";

import { ErrorReason, type FanfareError } from "./index.js";
import { connectNode } from "./node.js";

const [write = "", read = "", folder = "", id = "", username = "", password = ""] =
  process.argv.slice(2);
const userId = BigInt(id);
const [ca, cert, key] = ["ca.crt", "tls.crt", "tls.key"].map((name) =>
  readFileSync(`${folder}/${name}`),
);
const client = connectNode(write, read, { tls: { ca: ca!, cert: cert!, key: key! } });

await client.signIn(username, password);
const first = client.session!.accessToken;
const { email } = await client.read.getAccount({ userId });
console.log("ok sign in");

// This ends all access tokens; the services notice within a second.
await client.write.updateUser({ userId, email: `new.${email}`, currentPassword: password });
while (client.session!.accessToken === first) {
  await client.read.getAccount({ userId });
  await setTimeout(50);
}
console.log("ok refresh");

for await (const tweets of client.watch(userId)) {
  assert.equal(tweets.length, 0);
  break;
}
console.log("ok watch");

await client.signOut();
await assert.rejects(
  client.read.getAccount({ userId }),
  (error: FanfareError) => error.reason === ErrorReason.UNAUTHENTICATED,
);
console.log("ok sign out");
client.close();
