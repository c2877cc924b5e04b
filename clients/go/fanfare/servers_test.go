package fanfare

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	authv1 "fanfare.dev/gen/fanfare/auth/v1"
	readv1 "fanfare.dev/gen/fanfare/read/v1"
	writev1 "fanfare.dev/gen/fanfare/write/v1"
)

// fakeServers are the three services, whose answers a test scripts. Not scripted means UNIMPLEMENTED.
type fakeServers struct {
	writev1.UnimplementedWriteServiceServer
	authv1.UnimplementedAuthServiceServer
	readv1.UnimplementedReadServiceServer

	tweet    func(*writev1.CreateTweetRequest) (*writev1.CreateTweetResponse, error)
	timeline func(*readv1.GetHomeTimelineRequest) (*readv1.GetHomeTimelineResponse, error)
	user     func(token string, timeLeft time.Duration) (*readv1.GetUserResponse, error)
	refresh  func(*authv1.RefreshSessionRequest) (*authv1.RefreshSessionResponse, error)
	// One for each connection of a watch, in turn.
	watches []func(*readv1.WatchHomeTimelineRequest, grpc.ServerStreamingServer[readv1.WatchHomeTimelineResponse]) error

	mu           sync.Mutex
	watchTokens  []string
	resumeTokens []string
}

func (f *fakeServers) CreateTweet(
	_ context.Context, request *writev1.CreateTweetRequest,
) (*writev1.CreateTweetResponse, error) {
	return f.tweet(request)
}

func (f *fakeServers) GetHomeTimeline(
	_ context.Context, request *readv1.GetHomeTimelineRequest,
) (*readv1.GetHomeTimelineResponse, error) {
	return f.timeline(request)
}

func (f *fakeServers) GetUser(
	ctx context.Context, _ *readv1.GetUserRequest,
) (*readv1.GetUserResponse, error) {
	deadline, _ := ctx.Deadline()
	return f.user(authorization(ctx), time.Until(deadline))
}

func (f *fakeServers) RefreshSession(
	_ context.Context, request *authv1.RefreshSessionRequest,
) (*authv1.RefreshSessionResponse, error) {
	return f.refresh(request)
}

func (f *fakeServers) CreateSession(
	context.Context, *authv1.CreateSessionRequest,
) (*authv1.CreateSessionResponse, error) {
	return &authv1.CreateSessionResponse{Session: sessionOf(1, time.Now().Add(10*time.Minute))}, nil
}

func (f *fakeServers) RevokeSession(
	context.Context, *authv1.RevokeSessionRequest,
) (*authv1.RevokeSessionResponse, error) {
	return &authv1.RevokeSessionResponse{}, nil
}

func (f *fakeServers) WatchHomeTimeline(
	request *readv1.WatchHomeTimelineRequest,
	stream grpc.ServerStreamingServer[readv1.WatchHomeTimelineResponse],
) error {
	f.mu.Lock()
	connection := len(f.resumeTokens)
	f.resumeTokens = append(f.resumeTokens, request.ResumeToken)
	f.watchTokens = append(f.watchTokens, authorization(stream.Context()))
	f.mu.Unlock()
	if connection >= len(f.watches) {
		return status.Error(codes.FailedPrecondition, "the test has no more connections")
	}
	return f.watches[connection](request, stream)
}

func authorization(ctx context.Context) string {
	values, _ := metadata.FromIncomingContext(ctx)
	if found := values.Get("authorization"); len(found) > 0 {
		return found[0]
	}
	return ""
}

// clientOf returns a client of the fakes, which does not wait between the connections of a watch.
func clientOf(t *testing.T, fakes *fakeServers, options ...Option) *Client {
	t.Helper()
	listener := bufconn.Listen(1 << 16)
	server := grpc.NewServer()
	writev1.RegisterWriteServiceServer(server, fakes)
	authv1.RegisterAuthServiceServer(server, fakes)
	readv1.RegisterReadServiceServer(server, fakes)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	dialer := grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		return listener.DialContext(ctx)
	})
	client, err := NewClient("passthrough:///write", "passthrough:///read", append(options, WithDialOptions(dialer))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	client.sleep = func(context.Context, time.Duration) error { return nil }
	return client
}

// failure returns a status as Fanfare sends it.
func failure(code codes.Code, reason string, retryDelay time.Duration) error {
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{
		Reason: reason, Domain: "fanfare", Metadata: map[string]string{"user_id": "7"},
	}}
	if retryDelay > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(retryDelay)})
	}
	failed, err := status.New(code, "what is wrong").WithDetails(details...)
	if err != nil {
		panic(err)
	}
	return failed.Err()
}
