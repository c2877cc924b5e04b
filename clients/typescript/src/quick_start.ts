import { connectNode } from "@fanfare/client/node";

const [alice, bob] = [1n, 2n];
const client = connectNode("127.0.0.1:50051", "127.0.0.1:50052");

const posted = await client.write.createTweet({ userId: bob, content: "Hello, Alice!" });
for await (const tweets of client.watch(alice, { consistencyToken: posted.consistencyToken })) {
  console.log(tweets.map((tweet) => tweet.content)); // now, and after each change, until Ctrl-C
}
