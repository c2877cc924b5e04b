package fanfare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	errorsv1 "fanfare.dev/gen/fanfare/errors/v1"
)

const (
	domain       = "fanfare"
	reasonPrefix = "ERROR_REASON_"
)

// Error is why a call failed. Every call of a Client that fails returns one; get it by errors.As.
type Error struct {
	// Code is the status code, which tells what to do about a Reason that this client does not know.
	Code codes.Code
	// Reason says why, and its comment which Metadata it has. It is unspecified if the error did not
	// come from Fanfare (an expired deadline, a lost connection), or if Fanfare is newer than this
	// client.
	Reason errorsv1.ErrorReason
	// Message is for people. Its wording may change.
	Message string
	// Metadata is what the error is about, such as "user_id" and "field".
	Metadata map[string]string
	// RetryDelay is how long to wait before the call is repeated; 0 if the server did not say.
	RetryDelay time.Duration

	status *status.Status
}

// Error returns the code, the reason and the message.
func (e *Error) Error() string {
	if e.Reason == errorsv1.ErrorReason_ERROR_REASON_UNSPECIFIED {
		return fmt.Sprintf("%s: %s", e.Code, e.Message)
	}
	return fmt.Sprintf("%s: %s (%s)", e.Code, e.Message, e.Reason.String()[len(reasonPrefix):])
}

// GRPCStatus returns the status with all details, so that the functions of grpc's package status
// work with the error too.
func (e *Error) GRPCStatus() *status.Status {
	return e.status
}

// Is makes errors.Is find the context errors that have the same meaning.
func (e *Error) Is(target error) bool {
	return target == context.DeadlineExceeded && e.Code == codes.DeadlineExceeded ||
		target == context.Canceled && e.Code == codes.Canceled
}

// AsError returns what a gRPC stub or a Connect client of Fanfare failed with. It returns false if
// err is not the error of a call. The stubs of a Client return an *Error already.
func AsError(err error) (*Error, bool) {
	var known *Error
	if errors.As(err, &known) {
		return known, true
	}
	var failed *connect.Error
	if errors.As(err, &failed) {
		return newError(statusOf(failed)), true
	}
	if found, ok := status.FromError(err); ok && err != nil {
		return newError(found), true
	}
	return nil, false
}

// statusOf returns a Connect error as gRPC's status; both have the same codes and details.
func statusOf(failed *connect.Error) *status.Status {
	found := status.New(codes.Code(failed.Code()), failed.Message())
	for _, detail := range failed.Details() {
		if value, err := detail.Value(); err == nil {
			if more, err := found.WithDetails(protoadapt.MessageV1Of(value)); err == nil {
				found = more
			}
		}
	}
	return found
}

func newError(found *status.Status) *Error {
	result := &Error{Code: found.Code(), Message: found.Message(), status: found}
	for _, detail := range found.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.Domain == domain {
				number := errorsv1.ErrorReason_value[reasonPrefix+detail.Reason]
				result.Reason = errorsv1.ErrorReason(number)
				result.Metadata = detail.Metadata
			}
		case *errdetails.RetryInfo:
			result.RetryDelay = detail.RetryDelay.AsDuration()
		}
	}
	return result
}

func typed(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	if known, ok := AsError(err); ok {
		return known
	}
	return err
}

func typedErrors(
	ctx context.Context, method string, request, response any,
	connection *grpc.ClientConn, call grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	return typed(call(ctx, method, request, response, connection, options...))
}

func typedStreamErrors(
	ctx context.Context, description *grpc.StreamDesc, connection *grpc.ClientConn, method string,
	open grpc.Streamer, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	stream, err := open(ctx, description, connection, method, options...)
	if err != nil {
		return nil, typed(err)
	}
	return typedStream{stream}, nil
}

type typedStream struct{ grpc.ClientStream }

func (s typedStream) RecvMsg(message any) error { return typed(s.ClientStream.RecvMsg(message)) }
