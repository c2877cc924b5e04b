package dev.fanfare.client;

import io.grpc.ClientCall;
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

  // Guarded by this object's monitor.
  private ClientCall<Q, R> call;
  private Metadata headers;
  private Q message;
  private int requested;
  private boolean isCancelled;

  SessionCall(Sessions sessions, Supplier<ClientCall<Q, R>> open, boolean isUnary) {
    this.sessions = sessions;
    this.open = open;
    this.isUnary = isUnary;
    this.call = open.get();
  }

  @Override
  public void start(Listener<R> listener, Metadata headers) {
    String token = sessions.accessToken();
    synchronized (this) {
      this.headers = headers;
    }
    call()
        .start(
            new SimpleForwardingClientCallListener<R>(listener) {
              @Override
              public void onClose(Status status, Metadata trailers) {
                if (token == null
                    || status.getCode() != Status.Code.UNAUTHENTICATED
                    || !mayRepeat()) {
                  super.onClose(status, trailers);
                  return;
                }
                try {
                  sessions.refresh(token);
                } catch (StatusRuntimeException failure) {
                  super.onClose(failure.getStatus(), trailersOf(failure));
                  return;
                }
                repeat(listener);
              }
            },
            Sessions.withToken(headers, token));
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
    call.start(listener, Sessions.withToken(headers, sessions.accessToken()));
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
