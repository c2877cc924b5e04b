package fanfare

import (
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	commonv1 "fanfare.dev/gen/fanfare/common/v1"
	errorsv1 "fanfare.dev/gen/fanfare/errors/v1"
	readv1 "fanfare.dev/gen/fanfare/read/v1"
)

const (
	firstBackoff = 200 * time.Millisecond
	maxBackoff   = 10 * time.Second
)

// errStopped says that the caller wants no more.
var errStopped = errors.New("stopped")

// Watch follows a home timeline: it yields the newest tweets, newest first, at once and after every
// change. An empty list says that the timeline is empty. The lists may be kept.
//
// When the connection is lost or the server restarts, Watch connects again, for as long as the
// context lasts, and goes on from what it holds. It yields an error, as its last item, if the context
// ends, if the client is closed, or if connecting again does not help: no such user, no permission, no
// valid session. The request's resume_token is not used.
func (c *Client) Watch(
	ctx context.Context, request *readv1.WatchHomeTimelineRequest,
) iter.Seq2[[]*commonv1.Tweet, error] {
	return func(yield func([]*commonv1.Tweet, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(c.open, cancel)()
		w := &watch{client: c, request: proto.CloneOf(request), tweets: timeline{}, changed: true}
		w.request.ResumeToken = ""
		for {
			token := c.session.accessToken(ctx)
			err := w.follow(ctx, yield)
			if err == errStopped {
				return
			}
			delay, err := w.delay(ctx, token, err)
			if err == nil {
				err = c.sleep(ctx, delay)
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// watch is what outlives the connections of one Watch.
type watch struct {
	client *Client
	// The resume token is that of the last event.
	request *readv1.WatchHomeTimelineRequest
	tweets  timeline
	// Whether there is something to yield.
	changed bool
	// Connections that ended since the last heartbeat.
	failures int
	// Whether the session was refreshed since the last heartbeat.
	refreshed bool
}

// follow applies the events of one connection until it ends, and returns why.
func (w *watch) follow(ctx context.Context, yield func([]*commonv1.Tweet, error) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := w.client.Read.WatchHomeTimeline(ctx, w.request)
	if err != nil {
		return err
	}
	for {
		event, err := stream.Recv()
		if err != nil {
			return err
		}
		w.tweets.apply(event)
		w.request.ResumeToken = event.ResumeToken
		if event.GetHeartbeat() == nil {
			w.changed = true
			continue
		}
		// Between heartbeats the timeline may be incomplete.
		w.failures, w.refreshed, w.request.ConsistencyToken = 0, false, ""
		if w.changed && !yield(w.tweets.newestFirst(), nil) {
			return errStopped
		}
		w.changed = false
	}
}

// delay returns how long to wait before the next connection, or the error that ends the watch.
func (w *watch) delay(ctx context.Context, token string, ended error) (time.Duration, error) {
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	failed, ok := AsError(ended)
	if !ok && ended != io.EOF {
		return 0, ended
	}
	switch {
	case ended == io.EOF || isTransient(failed):
	case failed.Reason == errorsv1.ErrorReason_ERROR_REASON_INVALID_RESUME_TOKEN &&
		w.request.ResumeToken != "":
		w.request.ResumeToken = ""
		clear(w.tweets)
		w.changed = true
	case failed.Reason == errorsv1.ErrorReason_ERROR_REASON_UNAUTHENTICATED &&
		token != "" && !w.refreshed:
		if err := w.client.session.renew(ctx, token); err != nil {
			return w.delay(ctx, "", err)
		}
		w.refreshed = true
		return 0, nil
	default:
		return 0, failed
	}
	w.failures++
	if failed != nil && failed.RetryDelay > 0 {
		return failed.RetryDelay, nil
	}
	return backoffDelay(w.failures, rand.Float64()), nil
}

// isTransient tells whether the same call may succeed later.
func isTransient(failed *Error) bool {
	switch failed.Code {
	case codes.Unavailable, codes.ResourceExhausted:
		return true
	case codes.Internal, codes.Unknown, codes.Canceled, codes.DeadlineExceeded:
		// Without a reason it comes from a proxy or a broken connection, not from Fanfare.
		return failed.Reason == errorsv1.ErrorReason_ERROR_REASON_UNSPECIFIED
	default:
		return false
	}
}

// backoffDelay returns the delay after so many failures in a row; random is from 0 to 1, so that
// clients that lost the same server do not come back together.
func backoffDelay(failures int, random float64) time.Duration {
	longest := min(firstBackoff<<min(failures-1, 10), maxBackoff)
	return time.Duration(float64(longest) * (0.5 + random/2))
}
