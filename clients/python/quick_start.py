"""Post a tweet as user 2, and watch the timeline of user 1, who follows user 2."""

from fanfare.write.v1.write_pb2 import CreateTweetRequest

from fanfare_client.client import Client

with Client("127.0.0.1:50051", "127.0.0.1:50052") as client:
    tweet = CreateTweetRequest(user_id=2, content="Hello from Python")
    token = client.write.CreateTweet(tweet).consistency_token
    for tweets in client.watch(user_id=1, consistency_token=token):
        print([tweet.content for tweet in tweets])  # now, and after each change, until Ctrl-C
