package fanfare

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	authv1 "fanfare.dev/gen/fanfare/auth/v1"
	errorsv1 "fanfare.dev/gen/fanfare/errors/v1"
)

const (
	// An access token is refreshed when less than this is left of its ten minutes.
	refreshBefore = time.Minute
	// The pause after a refresh, also one that failed, unless the server refuses the token. If this
	// computer's clock is wrong, every token may seem to expire.
	refreshPause = time.Minute

	authMethods = "/fanfare.auth.v1.AuthService/"
)

// tokens are a session, and the time at which the client got it or last began to refresh it.
type tokens struct {
	session *authv1.Session
	since   time.Time
}

// session attaches an access token to each call, and refreshes it.
type session struct {
	auth      authv1.AuthServiceClient
	onSession func(*authv1.Session)
	now       func() time.Time
	// nil if nobody is signed in.
	current atomic.Pointer[tokens]
	// Holds an item while the session is changed, so that one refresh runs at a time.
	changing chan struct{}
}

func newSession(stored *authv1.Session, onSession func(*authv1.Session)) *session {
	s := &session{onSession: onSession, now: time.Now, changing: make(chan struct{}, 1)}
	if stored != nil {
		s.current.Store(&tokens{session: stored})
	}
	return s
}

func (s *session) lock(ctx context.Context) error {
	select {
	case s.changing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return typed(status.FromContextError(ctx.Err()).Err())
	}
}

func (s *session) unlock() { <-s.changing }

func (s *session) begin(ctx context.Context, created *authv1.Session) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.unlock()
	s.keep(created)
	return nil
}

func (s *session) end(ctx context.Context) (*authv1.Session, error) {
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.unlock()
	if last := s.current.Swap(nil); last != nil {
		return last.session, nil
	}
	return nil, nil
}

func (s *session) keep(created *authv1.Session) {
	s.onSession(created)
	s.current.Store(&tokens{session: created, since: s.now()})
}

// accessToken returns the token for a call, or "" if nobody is signed in. It refreshes a token that
// is about to expire; if that fails, the old one may still do.
func (s *session) accessToken(ctx context.Context) string {
	if s.isDue(s.current.Load()) {
		_ = s.refresh(ctx, s.isDue)
	}
	if current := s.current.Load(); current != nil {
		return current.session.AccessToken
	}
	return ""
}

func (s *session) isDue(current *tokens) bool {
	if current == nil {
		return false
	}
	now := s.now()
	left := current.session.AccessExpiresAt.AsTime().Sub(now)
	return left < refreshBefore && now.Sub(current.since) >= refreshPause
}

// renew replaces the access token that the server has refused.
func (s *session) renew(ctx context.Context, refused string) error {
	return s.refresh(ctx, func(current *tokens) bool {
		return current != nil && current.session.AccessToken == refused
	})
}

// refresh replaces the access token if that is still needed once no other call does so. If the session
// has ended, nobody is signed in afterwards.
func (s *session) refresh(ctx context.Context, isNeeded func(*tokens) bool) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	current := s.current.Load()
	if !isNeeded(current) {
		s.unlock()
		return nil
	}
	s.current.Store(&tokens{session: current.session, since: s.now()})
	done := make(chan error, 1)
	// The refresh token is used up even if the caller does not wait for the answer. So this goes on
	// when the caller's context ends.
	go func() {
		defer s.unlock()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), DefaultTimeout)
		defer cancel()
		request := &authv1.RefreshSessionRequest{RefreshToken: current.session.RefreshToken}
		response, err := s.auth.RefreshSession(ctx, request)
		if err == nil {
			s.keep(response.Session)
		} else if failed, ok := AsError(err); ok &&
			failed.Reason == errorsv1.ErrorReason_ERROR_REASON_INVALID_REFRESH_TOKEN {
			s.current.Store(nil)
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return typed(status.FromContextError(ctx.Err()).Err())
	}
}

func withToken(ctx context.Context, token string) context.Context {
	if token == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

func (s *session) unary(
	ctx context.Context, method string, request, response any,
	connection *grpc.ClientConn, call grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	if strings.HasPrefix(method, authMethods) {
		return call(ctx, method, request, response, connection, options...)
	}
	token := s.accessToken(ctx)
	err := call(withToken(ctx, token), method, request, response, connection, options...)
	failed, ok := AsError(err)
	if token == "" || !ok || failed.Reason != errorsv1.ErrorReason_ERROR_REASON_UNAUTHENTICATED {
		return err
	}
	if err := s.renew(ctx, token); err != nil {
		return err
	}
	token = s.accessToken(ctx)
	return call(withToken(ctx, token), method, request, response, connection, options...)
}

func (s *session) stream(
	ctx context.Context, description *grpc.StreamDesc, connection *grpc.ClientConn, method string,
	open grpc.Streamer, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	return open(withToken(ctx, s.accessToken(ctx)), description, connection, method, options...)
}
