// Session is the conformance test of sessions: `go run ./story/session WRITE_TARGET READ_TARGET
// TLS_FOLDER USER_ID USERNAME PASSWORD`. The folder has ca.crt, tls.crt and tls.key. The e-mail address
// of the user is changed.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"fanfare.dev/fanfare"
	authv1 "fanfare.dev/gen/fanfare/auth/v1"
	errorsv1 "fanfare.dev/gen/fanfare/errors/v1"
	readv1 "fanfare.dev/gen/fanfare/read/v1"
	writev1 "fanfare.dev/gen/fanfare/write/v1"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := tell(ctx, os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Args[6]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func tell(ctx context.Context, writeTarget, readTarget, folder, user, username, password string) error {
	config, err := tlsConfig(folder)
	if err != nil {
		return err
	}
	userID, err := strconv.ParseInt(user, 10, 64)
	if err != nil {
		return err
	}
	refreshed := make(chan *authv1.Session, 10)
	client, err := fanfare.NewClient(writeTarget, readTarget, fanfare.WithTLS(config),
		fanfare.OnSession(func(session *authv1.Session) { refreshed <- session }))
	if err != nil {
		return err
	}
	defer client.Close()
	if _, err := client.SignIn(ctx, username, password); err != nil {
		return err
	}
	<-refreshed
	account, err := client.Read.GetAccount(ctx, &readv1.GetAccountRequest{UserId: userID})
	if err != nil {
		return err
	}
	fmt.Println("ok sign in")
	// This ends all access tokens; the services notice within a second.
	email := "new." + account.Email
	if _, err := client.Write.UpdateUser(ctx, &writev1.UpdateUserRequest{
		UserId: userID, Email: &email, CurrentPassword: &password}); err != nil {
		return err
	}
	for len(refreshed) == 0 {
		if _, err := client.Read.GetAccount(ctx, &readv1.GetAccountRequest{UserId: userID}); err != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
	fmt.Println("ok refresh")
	for tweets, err := range client.Watch(ctx, &readv1.WatchHomeTimelineRequest{UserId: userID}) {
		if err != nil || len(tweets) != 0 {
			return fmt.Errorf("the timeline is %v: %w", tweets, err)
		}
		break
	}
	fmt.Println("ok watch")
	if err := client.SignOut(ctx); err != nil {
		return err
	}
	_, err = client.Read.GetAccount(ctx, &readv1.GetAccountRequest{UserId: userID})
	var failed *fanfare.Error
	if !errors.As(err, &failed) || failed.Reason != errorsv1.ErrorReason_ERROR_REASON_UNAUTHENTICATED {
		return fmt.Errorf("got %w", err)
	}
	fmt.Println("ok sign out")
	return nil
}

func tlsConfig(folder string) (*tls.Config, error) {
	authority, err := os.ReadFile(filepath.Join(folder, "ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	own, err := tls.LoadX509KeyPair(filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key"))
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{own}}, err
}
