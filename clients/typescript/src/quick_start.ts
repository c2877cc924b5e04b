import { connectNode } from "@fanfare/client/node";

const client = connectNode("127.0.0.1:50051", "127.0.0.1:50052");
const tweet = { userId: 2n, content: "Hello from TypeScript" };
const { consistencyToken } = await client.write.createTweet(tweet);
for await (const tweets of client.watch(1n, { consistencyToken })) {
  console.log(tweets.map(({ content }) => content)); // now, and after each change, until Ctrl-C
}
