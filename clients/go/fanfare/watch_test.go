package fanfare

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "fanfare.dev/gen/fanfare/auth/v1"
	commonv1 "fanfare.dev/gen/fanfare/common/v1"
	readv1 "fanfare.dev/gen/fanfare/read/v1"
)

type watchStream = grpc.ServerStreamingServer[readv1.WatchHomeTimelineResponse]
type connection = func(*readv1.WatchHomeTimelineRequest, watchStream) error

// The events of a connection: n > 0 is a tweet, n < 0 removes tweet -n, and the other two are below.
const (
	heartbeat = 0
	reset     = -1 << 62
)

// connectionWith returns a connection with the given events, which then ends with an error.
// The resume token of an event is its number.
func connectionWith(end error, events ...int64) connection {
	return func(_ *readv1.WatchHomeTimelineRequest, stream watchStream) error {
		for index, number := range events {
			event := &readv1.WatchHomeTimelineResponse{ResumeToken: fmt.Sprint(index + 1)}
			switch {
			case number == heartbeat:
				event.Event = &readv1.WatchHomeTimelineResponse_Heartbeat{Heartbeat: &readv1.Heartbeat{}}
			case number == reset:
				event.Event = &readv1.WatchHomeTimelineResponse_Reset_{Reset_: &readv1.Reset{}}
			case number > 0:
				event.Event = &readv1.WatchHomeTimelineResponse_Tweet{Tweet: &commonv1.Tweet{Id: number}}
			default:
				event.Event = &readv1.WatchHomeTimelineResponse_RemovedTweetId{RemovedTweetId: -number}
			}
			if err := stream.Send(event); err != nil {
				return err
			}
		}
		return end
	}
}

// seen returns the ids of every timeline that a watch yields, and its error.
func seen(ctx context.Context, client *Client) (timelines [][]int64, ended error) {
	for tweets, err := range client.Watch(ctx, &readv1.WatchHomeTimelineRequest{UserId: 7, ConsistencyToken: "c"}) {
		if err != nil {
			return timelines, err
		}
		ids := []int64{}
		for _, tweet := range tweets {
			ids = append(ids, tweet.Id)
		}
		timelines = append(timelines, ids)
	}
	return timelines, nil
}

var notFound = failure(codes.NotFound, "USER_NOT_FOUND", 0)

func expect(t *testing.T, got, want [][]int64) {
	t.Helper()
	if !slices.EqualFunc(got, want, slices.Equal[[]int64]) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestWatchYieldsTheTimelineAtHeartbeats(t *testing.T) {
	client := clientOf(t, &fakeServers{watches: []connection{
		connectionWith(notFound, 1, 2, heartbeat, heartbeat, -1, -9, 3, heartbeat, reset, 5, heartbeat, 6),
	}})
	got, err := seen(t.Context(), client)
	expect(t, got, [][]int64{{2, 1}, {3, 2}, {5}})
	if status.Code(err) != codes.NotFound {
		t.Error(err)
	}
}

func TestEmptyTimelineIsKnownToBeEmpty(t *testing.T) {
	client := clientOf(t, &fakeServers{watches: []connection{connectionWith(notFound, heartbeat, heartbeat)}})
	got, _ := seen(t.Context(), client)
	expect(t, got, [][]int64{{}})
}

func TestWatchResumesFromItsLastEvent(t *testing.T) {
	lost := []error{
		nil,
		failure(codes.Unavailable, "SHUTTING_DOWN", 3*time.Second),
		failure(codes.ResourceExhausted, "TOO_MANY_WATCHES", 2*time.Second),
		status.Error(codes.Internal, "stream terminated by RST_STREAM"),
		status.Error(codes.DeadlineExceeded, "a proxy ends long streams"),
	}
	fakes := &fakeServers{}
	for _, end := range lost {
		// Cut between two heartbeats: the tweet is kept, but not yet yielded.
		fakes.watches = append(fakes.watches, connectionWith(end, 1, heartbeat, 2))
	}
	fakes.watches = append(fakes.watches, connectionWith(notFound, heartbeat))
	client := clientOf(t, fakes)
	var delays []time.Duration
	client.sleep = func(_ context.Context, delay time.Duration) error {
		delays = append(delays, delay)
		return nil
	}
	got, _ := seen(t.Context(), client)
	expect(t, got, [][]int64{{1}, {2, 1}, {2, 1}, {2, 1}, {2, 1}, {2, 1}})
	if !slices.Equal(fakes.resumeTokens, []string{"", "3", "3", "3", "3", "3"}) {
		t.Errorf("resumed from %q", fakes.resumeTokens)
	}
	if len(delays) != 5 || delays[1] != 3*time.Second || delays[2] != 2*time.Second {
		t.Fatalf("waited %v", delays)
	}
	for _, delay := range []time.Duration{delays[0], delays[3], delays[4]} {
		if delay < firstBackoff/2 || delay > firstBackoff {
			t.Errorf("waited %v after a first failure", delay)
		}
	}
}

func TestConsistencyTokenIsSentUntilTheFirstHeartbeat(t *testing.T) {
	var sent []string
	record := func(next connection) connection {
		return func(request *readv1.WatchHomeTimelineRequest, stream watchStream) error {
			sent = append(sent, request.ConsistencyToken)
			return next(request, stream)
		}
	}
	client := clientOf(t, &fakeServers{watches: []connection{
		record(connectionWith(nil, 1)), record(connectionWith(nil, heartbeat)), record(connectionWith(notFound)),
	}})
	seen(t.Context(), client)
	if !slices.Equal(sent, []string{"c", "c", ""}) {
		t.Errorf("sent %q", sent)
	}
}

func TestRefusedResumeTokenIsForgottenWithTheTweets(t *testing.T) {
	fakes := &fakeServers{watches: []connection{
		connectionWith(nil, 1, heartbeat),
		connectionWith(failure(codes.InvalidArgument, "INVALID_RESUME_TOKEN", 0)),
		connectionWith(notFound, 2, heartbeat),
	}}
	got, _ := seen(t.Context(), clientOf(t, fakes))
	expect(t, got, [][]int64{{1}, {2}})
	if !slices.Equal(fakes.resumeTokens, []string{"", "2", ""}) {
		t.Errorf("resumed from %q", fakes.resumeTokens)
	}
}

func TestWatchRefreshesItsSessionOnce(t *testing.T) {
	unauthenticated := failure(codes.Unauthenticated, "UNAUTHENTICATED", 0)
	server := &rotating{newest: 1, expires: inTenMinutes()}
	fakes := &fakeServers{refresh: server.refresh, watches: []connection{
		connectionWith(unauthenticated, heartbeat), // accepted, and ended later
		connectionWith(unauthenticated),
	}}
	client := clientOf(t, fakes, WithSession(&authv1.Session{
		AccessToken: "access-1", RefreshToken: "refresh-1", AccessExpiresAt: timestamppb.New(inTenMinutes())}))
	_, err := seen(t.Context(), client)
	if status.Code(err) != codes.Unauthenticated || server.newest != 2 {
		t.Errorf("ended by %v after %d refreshes", err, server.newest-1)
	}
	if !slices.Equal(fakes.watchTokens, []string{"Bearer access-1", "Bearer access-2"}) {
		t.Errorf("sent %q", fakes.watchTokens)
	}
}

func TestWatchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	client := clientOf(t, &fakeServers{watches: []connection{
		func(_ *readv1.WatchHomeTimelineRequest, stream watchStream) error {
			cancel()
			<-stream.Context().Done()
			return nil
		},
	}})
	if _, err := seen(ctx, client); !errors.Is(err, context.Canceled) {
		t.Errorf("ended by %v", err)
	}
}

func TestWatchEndsWhenItsClientIsClosed(t *testing.T) {
	connected := make(chan struct{})
	client := clientOf(t, &fakeServers{watches: []connection{
		func(_ *readv1.WatchHomeTimelineRequest, stream watchStream) error {
			close(connected)
			<-stream.Context().Done()
			return nil
		},
	}})
	go func() {
		<-connected
		client.Close()
	}()
	if _, err := seen(t.Context(), client); !errors.Is(err, context.Canceled) {
		t.Errorf("ended by %v", err)
	}
}

func TestWatchEndsWhenNobodyWantsMore(t *testing.T) {
	ended := make(chan struct{})
	client := clientOf(t, &fakeServers{watches: []connection{
		func(request *readv1.WatchHomeTimelineRequest, stream watchStream) error {
			err := connectionWith(nil, heartbeat)(request, stream)
			<-stream.Context().Done()
			close(ended)
			return err
		},
	}})
	for range client.Watch(t.Context(), &readv1.WatchHomeTimelineRequest{}) {
		break
	}
	<-ended
}

func TestBackoffGrowsToItsLimitAndIsRandom(t *testing.T) {
	for failures, want := range map[int]time.Duration{1: firstBackoff, 2: 2 * firstBackoff, 20: maxBackoff, 1000: maxBackoff} {
		if got := backoffDelay(failures, 1); got != want {
			t.Errorf("%d failures: %v", failures, got)
		}
		if got := backoffDelay(failures, 0); got != want/2 {
			t.Errorf("%d failures: %v", failures, got)
		}
	}
}
