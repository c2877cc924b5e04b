package fanfare

import (
	"errors"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	commonv1 "fanfare.dev/gen/fanfare/common/v1"
	readv1 "fanfare.dev/gen/fanfare/read/v1"
)

func TestItemsOfAllPages(t *testing.T) {
	var asked []*readv1.GetHomeTimelineRequest
	client := clientOf(t, &fakeServers{
		timeline: func(request *readv1.GetHomeTimelineRequest) (*readv1.GetHomeTimelineResponse, error) {
			asked = append(asked, request)
			if request.PageToken == "" {
				return &readv1.GetHomeTimelineResponse{Tweets: tweets(5, 4), NextPageToken: "second"}, nil
			}
			return &readv1.GetHomeTimelineResponse{Tweets: tweets(3)}, nil
		},
	})
	request := &readv1.GetHomeTimelineRequest{UserId: 7, Limit: 2, Offset: 1, ConsistencyToken: "c"}
	before := proto.CloneOf(request)
	var found []int64
	for tweet, err := range client.HomeTimeline(t.Context(), request) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, tweet.Id)
	}
	if len(found) != 3 || found[0] != 5 || found[2] != 3 {
		t.Errorf("found %v", found)
	}
	second := &readv1.GetHomeTimelineRequest{UserId: 7, Limit: 2, PageToken: "second", ConsistencyToken: "c"}
	if len(asked) != 2 || !proto.Equal(asked[0], before) || !proto.Equal(asked[1], second) {
		t.Errorf("asked %v", asked)
	}
	if !proto.Equal(request, before) {
		t.Errorf("the request became %v", request)
	}
}

func TestNoPageIsReadThatNobodyWants(t *testing.T) {
	asked := 0
	client := clientOf(t, &fakeServers{
		timeline: func(*readv1.GetHomeTimelineRequest) (*readv1.GetHomeTimelineResponse, error) {
			asked++
			return &readv1.GetHomeTimelineResponse{Tweets: tweets(5, 4), NextPageToken: "more"}, nil
		},
	})
	for range client.HomeTimeline(t.Context(), &readv1.GetHomeTimelineRequest{}) {
		break
	}
	if asked != 1 {
		t.Errorf("asked for %d pages", asked)
	}
}

func TestErrorEndsTheItems(t *testing.T) {
	client := clientOf(t, &fakeServers{
		timeline: func(*readv1.GetHomeTimelineRequest) (*readv1.GetHomeTimelineResponse, error) {
			return nil, failure(codes.NotFound, "USER_NOT_FOUND", 0)
		},
	})
	seen := 0
	for _, err := range client.HomeTimeline(t.Context(), &readv1.GetHomeTimelineRequest{}) {
		seen++
		var failed *Error
		if !errors.As(err, &failed) {
			t.Errorf("got %v", err)
		}
	}
	if seen != 1 {
		t.Errorf("%d items", seen)
	}
}

func tweets(ids ...int64) []*commonv1.Tweet {
	var made []*commonv1.Tweet
	for _, id := range ids {
		made = append(made, &commonv1.Tweet{Id: id})
	}
	return made
}
