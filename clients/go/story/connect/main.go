// Connect is the conformance test of the generated Connect clients: `go run ./story/connect READ_URL
// USER_ID` prints a line for each step that the read service's REST port passed. The user has a
// timeline.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"connectrpc.com/connect"

	"fanfare.dev/fanfare"
	errorsv1 "fanfare.dev/gen/fanfare/errors/v1"
	readv1 "fanfare.dev/gen/fanfare/read/v1"
	"fanfare.dev/gen/fanfare/read/v1/readv1connect"
)

func main() {
	if err := tell(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func tell(url, user string) error {
	userID, err := strconv.ParseInt(user, 10, 64)
	if err != nil {
		return err
	}
	methods := &recorder{next: http.DefaultTransport}
	httpClient := &http.Client{Transport: methods}
	for _, options := range [][]connect.ClientOption{
		{connect.WithHTTPGet()},
		{connect.WithHTTPGet(), connect.WithProtoJSON()},
		{connect.WithGRPCWeb()},
	} {
		read := readv1connect.NewReadServiceClient(httpClient, url, options...)
		if err := steps(read, userID); err != nil {
			return err
		}
	}
	if methods.seen[http.MethodGet] == 0 {
		return errors.New("no query was sent by GET")
	}
	fmt.Println("ok GET")
	return nil
}

func steps(read readv1connect.ReadServiceClient, userID int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	timeline, err := read.GetHomeTimeline(ctx, &readv1.GetHomeTimelineRequest{UserId: userID})
	if err != nil {
		return err
	}
	if len(timeline.Tweets) == 0 {
		return errors.New("the timeline is empty")
	}
	fmt.Println("ok query")
	_, err = read.GetUser(ctx, &readv1.GetUserRequest{UserId: 1 << 60})
	failed, ok := fanfare.AsError(err)
	if !ok || failed.Reason != errorsv1.ErrorReason_ERROR_REASON_USER_NOT_FOUND {
		return fmt.Errorf("got %w", err)
	}
	fmt.Println("ok typed error")
	stream, err := read.WatchHomeTimeline(ctx, &readv1.WatchHomeTimelineRequest{UserId: userID})
	if err != nil {
		return err
	}
	defer stream.Close()
	for stream.Receive() {
		if stream.Msg().GetTweet().GetId() == timeline.Tweets[0].Id {
			fmt.Println("ok stream")
			return nil
		}
	}
	return stream.Err()
}

// recorder counts requests by their HTTP methods.
type recorder struct {
	next http.RoundTripper
	seen map[string]int
}

func (r *recorder) RoundTrip(request *http.Request) (*http.Response, error) {
	if r.seen == nil {
		r.seen = map[string]int{}
	}
	r.seen[request.Method]++
	return r.next.RoundTrip(request)
}
