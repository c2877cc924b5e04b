package fanfare

import (
	"regexp"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	writev1 "fanfare.dev/gen/fanfare/write/v1"
)

var uuid = regexp.MustCompile("^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")

func TestRepeatedCallHasTheSameRequestID(t *testing.T) {
	var ids []string
	client := clientOf(t, &fakeServers{
		tweet: func(request *writev1.CreateTweetRequest) (*writev1.CreateTweetResponse, error) {
			ids = append(ids, request.RequestId)
			if len(ids) == 1 {
				return nil, failure(codes.Unavailable, "DATABASE_UNAVAILABLE", 0)
			}
			return &writev1.CreateTweetResponse{}, nil
		},
	})
	request := &writev1.CreateTweetRequest{UserId: 7, Content: "once"}
	if _, err := client.Write.CreateTweet(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	if len(ids) != 2 || ids[0] != ids[1] || !uuid.MatchString(ids[0]) {
		t.Errorf("sent %q", ids)
	}
	if request.RequestId != "" {
		t.Error("the caller's request was changed")
	}
}

func TestEachTweetOfABatchHasARequestID(t *testing.T) {
	batch := &writev1.BatchCreateTweetsRequest{Requests: []*writev1.CreateTweetRequest{{}, {RequestId: "own"}, {}}}
	sent := repeatable(batch).(*writev1.BatchCreateTweetsRequest).Requests
	if !uuid.MatchString(sent[0].RequestId) || sent[1].RequestId != "own" ||
		!uuid.MatchString(sent[2].RequestId) || sent[0].RequestId == sent[2].RequestId {
		t.Errorf("sent %v", sent)
	}
	other := &writev1.DeleteTweetRequest{TweetId: 1}
	if repeatable(other).(proto.Message) != proto.Message(other) {
		t.Error("another request was changed")
	}
}
