package dev.fanfare.client;

import dev.fanfare.errors.v1.ErrorReason;
import io.grpc.ClientCall;
import io.grpc.Deadline;
import io.grpc.ForwardingClientCallListener.SimpleForwardingClientCallListener;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.util.function.Supplier;

/**
 * A call with an access token. If the server refuses the token of a unary call, the session is
 * refreshed, and the call is made a second time. A {@link Watch} does so itself.
 */
final class SessionCall<Q, R> extends ClientCall<Q, R> {
  private final Sessions sessions;
  private final Supplier<ClientCall<Q, R>> open;
  private final boolean isUnary;
  /** Null for none. */
  private final Deadline deadline;

  // Guarded by this object's monitor.
  private ClientCall<Q, R> call;
  private Metadata headers;
  private Q message;
  private int requested;
  private boolean isCancelled;

  SessionCall(
      Sessions sessions, Supplier<ClientCall<Q, R>> open, boolean isUnary, Deadline deadline) {
    this.sessions = sessions;
    this.open = open;
    this.isUnary = isUnary;
    this.deadline = deadline;
    this.call = open.get();
  }

  @Override
  public void start(Listener<R> listener, Metadata headers) {
    String token = sessions.accessToken(deadline);
    synchronized (this) {
      this.headers = headers;
    }
    call()
        .start(
            new SimpleForwardingClientCallListener<R>(listener) {
              @Override
              public void onClose(Status status, Metadata trailers) {
                if (token == null || !isRefused(status, trailers) || !mayRepeat()) {
                  super.onClose(status, trailers);
                  return;
                }
                try {
                  sessions.refresh(token, deadline);
                } catch (StatusRuntimeException failure) {
                  super.onClose(failure.getStatus(), trailersOf(failure));
                  return;
                }
                repeat(listener);
              }
            },
            Sessions.withToken(headers, token));
  }

  /** Tells whether a call failed because of its access token. */
  private static boolean isRefused(Status status, Metadata trailers) {
    return status.getCode() == Status.Code.UNAUTHENTICATED
        && FanfareError.of(status.asRuntimeException(trailers)).reason()
            == ErrorReason.ERROR_REASON_UNAUTHENTICATED;
  }

  private static Metadata trailersOf(StatusRuntimeException failure) {
    return failure.getTrailers() == null ? new Metadata() : failure.getTrailers();
  }

  private synchronized ClientCall<Q, R> call() {
    return call;
  }

  private synchronized boolean mayRepeat() {
    return isUnary && !isCancelled && message != null;
  }

  private synchronized void repeat(Listener<R> listener) {
    call = open.get();
    call.start(listener, Sessions.withToken(headers, sessions.accessToken(deadline)));
    call.request(requested);
    call.sendMessage(message);
    call.halfClose();
    if (isCancelled) {
      call.cancel("cancelled by the caller", null);
    }
  }

  @Override
  public synchronized void request(int messages) {
    requested += messages;
    call.request(messages);
  }

  @Override
  public synchronized void sendMessage(Q message) {
    this.message = message;
    call.sendMessage(message);
  }

  @Override
  public synchronized void halfClose() {
    call.halfClose();
  }

  @Override
  public synchronized void cancel(String reason, Throwable cause) {
    isCancelled = true;
    call.cancel(reason, cause);
  }
}
