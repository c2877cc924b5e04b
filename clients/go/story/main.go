// The story is Fanfare's conformance test of this client: `go run ./story WRITE_TARGET READ_TARGET`
// prints a line for each step that a running system passed. After "watch sees a removal" it reads a
// line; meanwhile its connections may be cut.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"time"

	"fanfare.dev/fanfare"
	commonv1 "fanfare.dev/gen/fanfare/common/v1"
	errorsv1 "fanfare.dev/gen/fanfare/errors/v1"
	readv1 "fanfare.dev/gen/fanfare/read/v1"
	writev1 "fanfare.dev/gen/fanfare/write/v1"
)

const patience = time.Minute

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: story WRITE_TARGET READ_TARGET")
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := tell(ctx, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// story is what the steps share.
type story struct {
	client        *fanfare.Client
	alice, bob    *commonv1.User
	token         string
	first, latest *commonv1.Tweet
}

func tell(ctx context.Context, writeTarget, readTarget string) error {
	client, err := fanfare.NewClient(writeTarget, readTarget)
	if err != nil {
		return err
	}
	defer client.Close()
	s := &story{client: client}
	steps := []struct {
		name string
		run  func(context.Context) error
	}{
		{"sign up", s.signUp},
		{"follow", s.follow},
		{"post and read with the token", s.post},
		{"page to the end", s.pageToTheEnd},
		{"", s.watch}, // which prints its own steps
		{"typed error", s.typedError},
		{"deadline exceeded", s.deadline},
		{"request_id makes a retry safe", s.requestID},
	}
	for _, step := range steps {
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		if step.name != "" {
			fmt.Println("ok", step.name)
		}
	}
	return nil
}

func (s *story) signUp(ctx context.Context) (err error) {
	if s.alice, err = s.newUser(ctx, "alice"); err != nil {
		return err
	}
	s.bob, err = s.newUser(ctx, "bob")
	return err
}

func (s *story) newUser(ctx context.Context, name string) (*commonv1.User, error) {
	username := name + "_" + rand.Text()[:12]
	created, err := s.client.Write.CreateUser(ctx, &writev1.CreateUserRequest{
		Username: username, Email: username + "@example.com", Password: "correct horse battery"})
	return created.GetUser(), err
}

func (s *story) follow(ctx context.Context) error {
	_, err := s.client.Write.FollowUser(ctx, &writev1.FollowUserRequest{
		FollowerId: s.alice.Id, FollowedId: s.bob.Id})
	return err
}

func (s *story) post(ctx context.Context) (err error) {
	if s.first, err = s.tweet(ctx, "Hello from Go"); err != nil {
		return err
	}
	page, err := s.client.Read.GetHomeTimeline(ctx, &readv1.GetHomeTimelineRequest{
		UserId: s.alice.Id, ConsistencyToken: s.token})
	if err != nil {
		return err
	}
	if len(page.Tweets) != 1 || page.Tweets[0].Content != "Hello from Go" {
		return fmt.Errorf("the timeline is %v", page.Tweets)
	}
	return nil
}

func (s *story) tweet(ctx context.Context, content string) (*commonv1.Tweet, error) {
	created, err := s.client.Write.CreateTweet(ctx, &writev1.CreateTweetRequest{
		UserId: s.bob.Id, Content: content})
	s.token = created.GetConsistencyToken()
	return created.GetTweet(), err
}

func (s *story) pageToTheEnd(ctx context.Context) error {
	batch := &writev1.BatchCreateTweetsRequest{}
	for number := range 249 {
		batch.Requests = append(batch.Requests, &writev1.CreateTweetRequest{
			UserId: s.bob.Id, Content: fmt.Sprintf("number %d", number)})
	}
	created, err := s.client.Write.BatchCreateTweets(ctx, batch)
	if err != nil {
		return err
	}
	want := []int64{s.first.Id}
	for _, result := range created.Results {
		s.latest = result.GetTweet()
		want = append(want, s.latest.GetId())
	}
	slices.Reverse(want)
	s.token = created.ConsistencyToken
	var got []int64
	request := &readv1.GetHomeTimelineRequest{UserId: s.alice.Id, Limit: 100, ConsistencyToken: s.token}
	for tweet, err := range s.client.HomeTimeline(ctx, request) {
		if err != nil {
			return err
		}
		got = append(got, tweet.Id)
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("%d tweets were posted, and %d read: %v", len(want), len(got), got)
	}
	return nil
}

func (s *story) watch(ctx context.Context) error {
	next, stop := iter.Pull2(s.client.Watch(ctx, &readv1.WatchHomeTimelineRequest{
		UserId: s.alice.Id, Limit: 5, ConsistencyToken: s.token}))
	defer stop()
	// until waits for a timeline whose newest tweet has the given id and content.
	until := func(id int64, content, step string) error {
		for {
			tweets, err, ok := next()
			if err != nil || !ok {
				return fmt.Errorf("%s: %w", step, err)
			}
			if len(tweets) == 5 && tweets[0].Id == id && tweets[0].Content == content {
				if step != "" {
					fmt.Println("ok", step)
				}
				return nil
			}
		}
	}
	if err := until(s.latest.Id, s.latest.Content, ""); err != nil {
		return err
	}
	added, err := s.tweet(ctx, "to be edited")
	if err != nil {
		return err
	}
	if err := until(added.Id, "to be edited", "watch sees a new tweet"); err != nil {
		return err
	}
	if _, err := s.client.Write.UpdateTweet(ctx, &writev1.UpdateTweetRequest{
		TweetId: added.Id, Content: "edited"}); err != nil {
		return err
	}
	if err := until(added.Id, "edited", "watch sees an edit"); err != nil {
		return err
	}
	if _, err := s.client.Write.DeleteTweet(ctx, &writev1.DeleteTweetRequest{TweetId: added.Id}); err != nil {
		return err
	}
	if err := until(s.latest.Id, s.latest.Content, "watch sees a removal"); err != nil {
		return err
	}
	// Whoever runs the story cuts the connection now, and then writes a line.
	bufio.NewReader(os.Stdin).ReadString('\n')
	added, err = s.tweet(ctx, "after the cut")
	if err != nil {
		return err
	}
	return until(added.Id, "after the cut", "watch resumes after its connection is cut")
}

func (s *story) typedError(ctx context.Context) error {
	const nobody = 1 << 60
	_, err := s.client.Read.GetUser(ctx, &readv1.GetUserRequest{UserId: nobody})
	var failed *fanfare.Error
	if !errors.As(err, &failed) || failed.Reason != errorsv1.ErrorReason_ERROR_REASON_USER_NOT_FOUND ||
		failed.Metadata["user_id"] != fmt.Sprint(nobody) {
		return fmt.Errorf("got %w", err)
	}
	return nil
}

func (s *story) deadline(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Nanosecond)
	defer cancel()
	_, err := s.client.Read.GetUser(ctx, &readv1.GetUserRequest{UserId: s.alice.Id})
	if !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("got %w", err)
	}
	return nil
}

func (s *story) requestID(ctx context.Context) error {
	request := &writev1.CreateTweetRequest{
		UserId: s.bob.Id, Content: "once", RequestId: "8c0b5a0e-6a4e-4c57-9f4c-2f4b1a3d7e11"}
	first, err := s.client.Write.CreateTweet(ctx, request)
	if err != nil {
		return err
	}
	second, err := s.client.Write.CreateTweet(ctx, request)
	if err != nil {
		return err
	}
	if first.Tweet.Id != second.Tweet.Id {
		return fmt.Errorf("there are two tweets: %d and %d", first.Tweet.Id, second.Tweet.Id)
	}
	return nil
}
