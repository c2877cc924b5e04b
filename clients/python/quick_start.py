"""Post a tweet and watch a timeline live: the example of the README."""

from fanfare.write.v1.write_pb2 import CreateTweetRequest
from fanfare_client.client import Client

ALICE, BOB = 1, 2

with Client("127.0.0.1:50051", "127.0.0.1:50052") as client:
    posted = client.write.CreateTweet(CreateTweetRequest(user_id=BOB, content="Hello, Alice!"))
    for tweets in client.watch(ALICE, consistency_token=posted.consistency_token):
        print([tweet.content for tweet in tweets])  # now, and after each change, until Ctrl-C
