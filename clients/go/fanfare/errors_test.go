package fanfare

import (
	"context"
	"errors"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	errorsv1 "fanfare.dev/gen/fanfare/errors/v1"
	readv1 "fanfare.dev/gen/fanfare/read/v1"
)

func TestErrorHasTheReasonAndItsDetails(t *testing.T) {
	client := clientOf(t, &fakeServers{user: func(string, time.Duration) (*readv1.GetUserResponse, error) {
		return nil, failure(codes.NotFound, "USER_NOT_FOUND", 3*time.Second)
	}})
	_, err := client.Read.GetUser(t.Context(), &readv1.GetUserRequest{UserId: 7})
	var failed *Error
	if !errors.As(err, &failed) {
		t.Fatalf("not an *Error: %v", err)
	}
	if failed.Code != codes.NotFound || failed.Reason != errorsv1.ErrorReason_ERROR_REASON_USER_NOT_FOUND ||
		failed.Metadata["user_id"] != "7" || failed.RetryDelay != 3*time.Second {
		t.Errorf("unexpected: %+v", failed)
	}
	if failed.Error() != "NotFound: what is wrong (USER_NOT_FOUND)" {
		t.Error(failed.Error())
	}
	if status.Code(err) != codes.NotFound {
		t.Error("grpc's own functions do not read the error")
	}
}

func TestUnknownReasonIsUnspecified(t *testing.T) {
	failed, ok := AsError(failure(codes.Aborted, "MADE_LATER", 0))
	if !ok || failed.Code != codes.Aborted || failed.Reason != 0 {
		t.Errorf("unexpected: %+v", failed)
	}
}

func TestErrorOfConnect(t *testing.T) {
	sent := connect.NewError(connect.CodeNotFound, errors.New("what is wrong"))
	detail, err := connect.NewErrorDetail(&errdetails.ErrorInfo{Reason: "USER_NOT_FOUND", Domain: "fanfare"})
	if err != nil {
		t.Fatal(err)
	}
	sent.AddDetail(detail)
	failed, ok := AsError(sent)
	if !ok || failed.Code != codes.NotFound ||
		failed.Reason != errorsv1.ErrorReason_ERROR_REASON_USER_NOT_FOUND ||
		len(failed.GRPCStatus().Details()) != 1 {
		t.Errorf("unexpected: %+v", failed)
	}
}

func TestOtherErrorsAreNotErrorsOfCalls(t *testing.T) {
	for _, err := range []error{nil, errors.New("other")} {
		if failed, ok := AsError(err); ok {
			t.Errorf("%v became %v", err, failed)
		}
	}
}

func TestEveryCallHasADeadline(t *testing.T) {
	var left time.Duration
	client := clientOf(t, &fakeServers{user: func(_ string, timeLeft time.Duration) (*readv1.GetUserResponse, error) {
		left = timeLeft
		return &readv1.GetUserResponse{}, nil
	}})
	if _, err := client.Read.GetUser(t.Context(), &readv1.GetUserRequest{}); err != nil {
		t.Fatal(err)
	}
	if left <= 0 || left > DefaultTimeout {
		t.Errorf("%v left", left)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	_, err := client.Read.GetUser(ctx, &readv1.GetUserRequest{})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}
