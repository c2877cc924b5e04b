package fanfare

import (
	"context"
	"crypto/rand"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	writev1 "fanfare.dev/gen/fanfare/write/v1"
)

// withRequestIDs makes it safe to repeat calls that create tweets.
func withRequestIDs(
	ctx context.Context, method string, request, response any,
	connection *grpc.ClientConn, call grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	return call(ctx, method, repeatable(request), response, connection, options...)
}

// repeatable returns a request that can be sent twice without creating a tweet twice: each tweet to
// create has a request_id. Other requests are returned as they are.
func repeatable(request any) any {
	switch request := request.(type) {
	case *writev1.CreateTweetRequest:
		repeatable := proto.CloneOf(request)
		setRequestID(repeatable)
		return repeatable
	case *writev1.BatchCreateTweetsRequest:
		repeatable := proto.CloneOf(request)
		for _, tweet := range repeatable.Requests {
			setRequestID(tweet)
		}
		return repeatable
	default:
		return request
	}
}

func setRequestID(tweet *writev1.CreateTweetRequest) {
	if tweet.RequestId == "" {
		tweet.RequestId = newUUID()
	}
}

func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // version 4
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
