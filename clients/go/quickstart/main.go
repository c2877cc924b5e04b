// The quick start of README.md: user 2 posts, and user 1, who follows user 2, reads and watches.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"

	"fanfare.dev/fanfare"
	readv1 "fanfare.dev/gen/fanfare/read/v1"
	writev1 "fanfare.dev/gen/fanfare/write/v1"
)

func main() {
	if err := run(context.Background()); err != nil {
		var failed *fanfare.Error
		if errors.As(err, &failed) {
			log.Fatalf("%v: %v", failed.Reason, failed.Metadata)
		}
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	client, err := fanfare.NewClient("127.0.0.1:50051", "127.0.0.1:50052")
	if err != nil {
		return err
	}
	defer client.Close()
	posted, err := client.Write.CreateTweet(ctx, &writev1.CreateTweetRequest{UserId: 2, Content: "Hello from Go"})
	if err != nil {
		return err
	}
	for tweet, err := range client.HomeTimeline(ctx, &readv1.GetHomeTimelineRequest{UserId: 1, ConsistencyToken: posted.ConsistencyToken}) {
		if err != nil {
			return err
		}
		fmt.Println(tweet.UserId, tweet.Content)
	}
	for tweets, err := range client.Watch(ctx, &readv1.WatchHomeTimelineRequest{UserId: 1, Limit: 10}) {
		if err != nil {
			return err
		}
		fmt.Println("live:", len(tweets), "tweets")
	}
	return nil
}
