package fanfare

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "fanfare.dev/gen/fanfare/auth/v1"
	readv1 "fanfare.dev/gen/fanfare/read/v1"
)

// sessionOf returns the session after so many refreshes; its tokens are numbered.
func sessionOf(number int, expires time.Time) *authv1.Session {
	return &authv1.Session{
		AccessToken:     fmt.Sprintf("access-%d", number),
		RefreshToken:    fmt.Sprintf("refresh-%d", number),
		AccessExpiresAt: timestamppb.New(expires),
	}
}

// rotating answers calls that come with the newest access token, and refreshes as Fanfare does: a
// refresh token is good once.
type rotating struct {
	mu      sync.Mutex
	newest  int
	expires time.Time
	tokens  []string
}

func (r *rotating) user(token string, _ time.Duration) (*readv1.GetUserResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tokens = append(r.tokens, token)
	if token != fmt.Sprintf("Bearer access-%d", r.newest) {
		return nil, failure(codes.Unauthenticated, "UNAUTHENTICATED", 0)
	}
	return &readv1.GetUserResponse{}, nil
}

func (r *rotating) refresh(request *authv1.RefreshSessionRequest) (*authv1.RefreshSessionResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if request.RefreshToken != fmt.Sprintf("refresh-%d", r.newest) {
		return nil, failure(codes.Unauthenticated, "INVALID_REFRESH_TOKEN", 0)
	}
	r.newest++
	return &authv1.RefreshSessionResponse{Session: sessionOf(r.newest, r.expires)}, nil
}

func inTenMinutes() time.Time { return time.Now().Add(10 * time.Minute) }

func TestTokenIsRefreshedBeforeItExpires(t *testing.T) {
	server := &rotating{newest: 1, expires: inTenMinutes()}
	var stored []*authv1.Session
	client := clientOf(t, &fakeServers{user: server.user, refresh: server.refresh},
		WithSession(sessionOf(1, time.Now().Add(30*time.Second))),
		OnSession(func(session *authv1.Session) { stored = append(stored, session) }))
	for range 2 {
		if _, err := client.Read.GetUser(t.Context(), &readv1.GetUserRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	if len(server.tokens) != 2 || server.tokens[0] != "Bearer access-2" || server.tokens[1] != "Bearer access-2" {
		t.Errorf("sent %v", server.tokens)
	}
	if len(stored) != 1 || stored[0].RefreshToken != "refresh-2" {
		t.Errorf("stored %v", stored)
	}
}

func TestWrongClockDoesNotRefreshEveryCall(t *testing.T) {
	// To this client every token seems to have expired.
	server := &rotating{newest: 1, expires: time.Now().Add(-time.Hour)}
	client := clientOf(t, &fakeServers{user: server.user, refresh: server.refresh},
		WithSession(sessionOf(1, server.expires)))
	for range 5 {
		if _, err := client.Read.GetUser(t.Context(), &readv1.GetUserRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	if server.newest != 2 {
		t.Errorf("%d refreshes", server.newest-1)
	}
}

func TestFailedRefreshDoesNotDelayEveryCall(t *testing.T) {
	server := &rotating{newest: 1}
	var attempts atomic.Int32
	client := clientOf(t, &fakeServers{
		user: server.user,
		refresh: func(*authv1.RefreshSessionRequest) (*authv1.RefreshSessionResponse, error) {
			attempts.Add(1)
			return nil, failure(codes.Internal, "INTERNAL", 0)
		},
	}, WithSession(sessionOf(1, time.Now().Add(30*time.Second))))
	for range 5 {
		if _, err := client.Read.GetUser(t.Context(), &readv1.GetUserRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	if attempts.Load() != 1 {
		t.Errorf("%d refreshes", attempts.Load())
	}
}

func TestOnlyARefusedTokenIsRefreshed(t *testing.T) {
	client := clientOf(t, &fakeServers{
		user: func(string, time.Duration) (*readv1.GetUserResponse, error) {
			return nil, status.Error(codes.Unauthenticated, "a proxy wants another password")
		},
		refresh: func(*authv1.RefreshSessionRequest) (*authv1.RefreshSessionResponse, error) {
			t.Error("refreshed")
			return nil, failure(codes.Internal, "INTERNAL", 0)
		},
	}, WithSession(sessionOf(1, inTenMinutes())))
	_, err := client.Read.GetUser(t.Context(), &readv1.GetUserRequest{})
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("got %v", err)
	}
}

func TestRefusedTokenIsRefreshedOnceForAllCalls(t *testing.T) {
	server := &rotating{newest: 1, expires: inTenMinutes()}
	client := clientOf(t, &fakeServers{user: server.user, refresh: server.refresh},
		WithSession(&authv1.Session{AccessToken: "ended", RefreshToken: "refresh-1",
			AccessExpiresAt: timestamppb.New(inTenMinutes())}))
	var calls sync.WaitGroup
	var failed atomic.Int32
	for range 20 {
		calls.Go(func() {
			if _, err := client.Read.GetUser(t.Context(), &readv1.GetUserRequest{}); err != nil {
				failed.Add(1)
			}
		})
	}
	calls.Wait()
	if failed.Load() != 0 || server.newest != 2 {
		t.Errorf("%d calls failed, %d refreshes", failed.Load(), server.newest-1)
	}
}

func TestRefusedRefreshTokenEndsTheSession(t *testing.T) {
	server := &rotating{newest: 5}
	client := clientOf(t, &fakeServers{user: server.user, refresh: server.refresh},
		WithSession(sessionOf(1, inTenMinutes())))
	_, err := client.Read.GetUser(t.Context(), &readv1.GetUserRequest{})
	var failed *Error
	if !errors.As(err, &failed) || failed.Reason.String() != "ERROR_REASON_INVALID_REFRESH_TOKEN" {
		t.Errorf("got %v", err)
	}
	client.Read.GetUser(t.Context(), &readv1.GetUserRequest{})
	if last := server.tokens[len(server.tokens)-1]; last != "" {
		t.Errorf("sent %q", last)
	}
}

func TestRefreshGoesOnWithoutItsCaller(t *testing.T) {
	server := &rotating{newest: 1, expires: inTenMinutes()}
	entered, goOn := make(chan struct{}), make(chan struct{})
	stored := make(chan *authv1.Session, 1)
	client := clientOf(t, &fakeServers{
		user: server.user,
		refresh: func(request *authv1.RefreshSessionRequest) (*authv1.RefreshSessionResponse, error) {
			close(entered)
			<-goOn
			return server.refresh(request)
		},
	}, WithSession(&authv1.Session{AccessToken: "ended", RefreshToken: "refresh-1",
		AccessExpiresAt: timestamppb.New(inTenMinutes())}),
		OnSession(func(session *authv1.Session) { stored <- session }))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := client.Read.GetUser(ctx, &readv1.GetUserRequest{})
		ended <- err
	}()
	<-entered
	cancel()
	err := <-ended
	var failed *Error
	if !errors.As(err, &failed) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(goOn)
	if session := <-stored; session.RefreshToken != "refresh-2" {
		t.Errorf("stored %v", session)
	}
}

func TestSignInAndOut(t *testing.T) {
	server := &rotating{newest: 1}
	client := clientOf(t, &fakeServers{user: server.user, refresh: server.refresh})
	if _, err := client.SignIn(t.Context(), "alice", "correct horse"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read.GetUser(t.Context(), &readv1.GetUserRequest{}); err != nil {
		t.Error(err)
	}
	if err := client.SignOut(t.Context()); err != nil {
		t.Error(err)
	}
	_, err := client.Read.GetUser(t.Context(), &readv1.GetUserRequest{})
	if status.Code(err) != codes.Unauthenticated {
		t.Errorf("got %v", err)
	}
}
