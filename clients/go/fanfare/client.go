// Package fanfare is a client of Fanfare, a home-timeline service.
//
// A Client has the generated stubs of all services, and adds what every caller needs: retries and
// deadlines, sessions that refresh themselves, lists without page tokens, a home timeline that
// follows the server's, and errors with reasons. The messages are in the packages below
// fanfare.dev/gen.
package fanfare

import (
	"context"
	"crypto/tls"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	authv1 "fanfare.dev/gen/fanfare/auth/v1"
	readv1 "fanfare.dev/gen/fanfare/read/v1"
	writev1 "fanfare.dev/gen/fanfare/write/v1"
)

// DefaultTimeout is the deadline of calls whose context has none. Calls wait for a connection, so
// without a deadline they could wait without end.
const DefaultTimeout = 10 * time.Second

// The retries that Fanfare publishes: docs/service_config.json.
//
//go:embed service_config.json
var serviceConfig string

var (
	// A server that is back is noticed within a second.
	connectParams = grpc.ConnectParams{
		Backoff: backoff.Config{
			BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second,
		},
		MinConnectTimeout: 5 * time.Second,
	}
	// A connection that has died silently is noticed while a call waits on it.
	keepaliveParams = keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}
)

// Client calls a Fanfare system. It is safe for concurrent use.
type Client struct {
	// Write has the commands.
	Write writev1.WriteServiceClient
	// Read has the queries.
	Read readv1.ReadServiceClient
	// Auth has the sessions; SignIn and SignOut use it.
	Auth authv1.AuthServiceClient

	session     *session
	connections []*grpc.ClientConn
	// Ends when the client is closed.
	open context.Context
	end  context.CancelFunc

	sleep func(context.Context, time.Duration) error
}

type settings struct {
	credentials credentials.TransportCredentials
	session     *authv1.Session
	onSession   func(*authv1.Session)
	dialOptions []grpc.DialOption
}

// Option changes how a Client connects.
type Option func(*settings)

// WithTLS makes the client connect over TLS. Fanfare's gRPC ports ask for a client certificate.
func WithTLS(config *tls.Config) Option {
	return func(s *settings) { s.credentials = credentials.NewTLS(config) }
}

// WithSession makes the client continue a session that an earlier one stored; see OnSession.
func WithSession(session *authv1.Session) Option {
	return func(s *settings) { s.session = session }
}

// OnSession has every new session passed to store, before it is used: after SignIn, and after each
// refresh. A refresh token can be used once, so only the last session can be continued.
func OnSession(store func(*authv1.Session)) Option {
	return func(s *settings) { s.onSession = store }
}

// WithDialOptions adds options of grpc, such as interceptors for traces.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(s *settings) { s.dialOptions = append(s.dialOptions, options...) }
}

// NewClient returns a client of the write service and the read service at the given targets, such
// as "127.0.0.1:50051" and "127.0.0.1:50052". It connects when it is first used. Close it.
func NewClient(writeTarget, readTarget string, options ...Option) (*Client, error) {
	settings := settings{
		credentials: insecure.NewCredentials(),
		onSession:   func(*authv1.Session) {},
	}
	for _, option := range options {
		option(&settings)
	}
	client := &Client{session: newSession(settings.session, settings.onSession), sleep: sleep}
	client.open, client.end = context.WithCancel(context.Background())
	write, err := client.connect(writeTarget, &settings)
	if err != nil {
		return nil, err
	}
	read, err := client.connect(readTarget, &settings)
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	client.Write = writev1.NewWriteServiceClient(write)
	client.Auth = authv1.NewAuthServiceClient(write)
	client.Read = readv1.NewReadServiceClient(read)
	client.session.auth = client.Auth
	return client, nil
}

func (c *Client) connect(target string, settings *settings) (*grpc.ClientConn, error) {
	options := append([]grpc.DialOption{
		grpc.WithTransportCredentials(settings.credentials),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithConnectParams(connectParams),
		grpc.WithKeepaliveParams(keepaliveParams),
		grpc.WithChainUnaryInterceptor(typedErrors, withDeadline, withRequestIDs, c.session.unary),
		grpc.WithChainStreamInterceptor(typedStreamErrors, c.session.stream),
	}, settings.dialOptions...)
	connection, err := grpc.NewClient(target, options...)
	if err != nil {
		return nil, fmt.Errorf("cannot use the target %q: %w", target, err)
	}
	c.connections = append(c.connections, connection)
	return connection, nil
}

// Close ends all calls, watches and connections.
func (c *Client) Close() error {
	c.end()
	var all []error
	for _, connection := range c.connections {
		all = append(all, connection.Close())
	}
	return errors.Join(all...)
}

// SignIn creates a session, with which the client then makes its calls.
func (c *Client) SignIn(ctx context.Context, username, password string) (*authv1.Session, error) {
	created, err := c.Auth.CreateSession(
		ctx, &authv1.CreateSessionRequest{Username: username, Password: password})
	if err != nil {
		return nil, err
	}
	return created.Session, c.session.begin(ctx, created.Session)
}

// SignOut ends the session, on the server too. Without a session it does nothing.
func (c *Client) SignOut(ctx context.Context) error {
	ended, err := c.session.end(ctx)
	if ended == nil || err != nil {
		return err
	}
	_, err = c.Auth.RevokeSession(
		ctx, &authv1.RevokeSessionRequest{RefreshToken: ended.RefreshToken})
	return err
}

func withDeadline(
	ctx context.Context, method string, request, response any,
	connection *grpc.ClientConn, call grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}
	return call(ctx, method, request, response, connection, options...)
}

func sleep(ctx context.Context, delay time.Duration) error {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
