package dev.fanfare.client;

import dev.fanfare.auth.v1.AuthServiceGrpc.AuthServiceStub;
import dev.fanfare.auth.v1.RefreshSessionRequest;
import dev.fanfare.auth.v1.RefreshSessionResponse;
import dev.fanfare.auth.v1.Session;
import dev.fanfare.errors.v1.ErrorReason;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.time.Instant;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;

/** Attaches an access token to each call, and refreshes it. */
final class Sessions implements ClientInterceptor {
  private static final Metadata.Key<String> AUTHORIZATION =
      Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

  /** An access token is refreshed when less than this is left of its ten minutes. */
  private static final Duration REFRESH_BEFORE = Duration.ofMinutes(1);

  /**
   * The pause after a refresh, also one that failed, unless the server refuses the token. If this
   * computer's clock is wrong, every token may seem to expire.
   */
  private static final Duration REFRESH_PAUSE = Duration.ofMinutes(1);

  private final AuthServiceStub auth;
  private final Consumer<Session> onSession;

  // All of these are guarded by this object's monitor.
  /** Null if nobody is signed in. */
  private Session current;

  /** When a token that is about to expire is next refreshed, in System.nanoTime(). */
  private long nextRefresh = System.nanoTime();

  /** Completed when the refresh that is under way has ended; null if there is none. */
  private CompletableFuture<Void> refreshing;

  Sessions(AuthServiceStub auth, Session stored, Consumer<Session> onSession) {
    this.auth = auth;
    this.current = stored;
    this.onSession = onSession;
  }

  synchronized void begin(Session created) {
    try {
      onSession.accept(created);
    } finally {
      current = created; // the refresh token of the one before is used up
    }
  }

  /** Forgets the session; returns it, or null if there was none. */
  synchronized Session end() {
    Session ended = current;
    current = null;
    return ended;
  }

  /**
   * Returns the token for a call, or null if nobody is signed in. A token that is about to expire is
   * refreshed; if that fails, the old one may still do.
   *
   * @param deadline how long to wait; null for until the refresh ends
   */
  String accessToken(Deadline deadline) {
    Session session = session();
    if (session == null) {
      return null;
    }
    if (isExpiring(session)) {
      try {
        refresh(session.getAccessToken(), deadline);
      } catch (StatusRuntimeException failure) {
        // The server says whether the old token still does.
      }
      session = session();
    }
    return session == null ? null : session.getAccessToken();
  }

  private synchronized Session session() {
    return current;
  }

  private synchronized boolean isExpiring(Session session) {
    Instant expires = Instant.ofEpochSecond(session.getAccessExpiresAt().getSeconds());
    return Instant.now().plus(REFRESH_BEFORE).isAfter(expires)
        && System.nanoTime() - nextRefresh >= 0;
  }

  /**
   * Replaces the given access token, unless another call has already done so. If the session has
   * ended, nobody is signed in afterwards.
   *
   * @param deadline how long to wait; null for until the refresh ends. It goes on in any case.
   * @throws StatusRuntimeException the session could not be refreshed
   */
  void refresh(String old, Deadline deadline) {
    CompletableFuture<Void> done = startRefresh(old);
    try {
      if (deadline == null) {
        done.get();
      } else {
        done.get(deadline.timeRemaining(TimeUnit.NANOSECONDS), TimeUnit.NANOSECONDS);
      }
    } catch (TimeoutException late) {
      throw Status.DEADLINE_EXCEEDED
          .withDescription("the session was not refreshed in time")
          .asRuntimeException();
    } catch (ExecutionException failed) {
      throw (StatusRuntimeException) failed.getCause();
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
      throw Status.CANCELLED.withDescription("the thread was interrupted").asRuntimeException();
    }
  }

  private synchronized CompletableFuture<Void> startRefresh(String old) {
    if (current == null || !current.getAccessToken().equals(old)) {
      return CompletableFuture.completedFuture(null);
    }
    if (refreshing == null) {
      CompletableFuture<Void> done = new CompletableFuture<>();
      refreshing = done;
      nextRefresh = System.nanoTime() + REFRESH_PAUSE.toNanos();
      RefreshSessionRequest request =
          RefreshSessionRequest.newBuilder().setRefreshToken(current.getRefreshToken()).build();
      // The refresh token is used up even if the caller does not wait for the answer. So the call
      // neither ends with the caller's context nor with the caller's thread.
      Context.ROOT.run(() -> auth.refreshSession(request, new Refreshed(old, done)));
      return done;
    }
    return refreshing;
  }

  private synchronized void finishRefresh(String old, Session refreshed) {
    refreshing = null;
    // Somebody may have signed in or out meanwhile.
    if (current != null && current.getAccessToken().equals(old)) {
      if (refreshed == null) {
        current = null;
      } else {
        begin(refreshed);
      }
    }
  }

  private synchronized void failRefresh() {
    refreshing = null;
  }

  @Override
  public <Q, R> ClientCall<Q, R> interceptCall(
      MethodDescriptor<Q, R> method, CallOptions options, Channel next) {
    boolean isUnary = method.getType() == MethodDescriptor.MethodType.UNARY;
    return new SessionCall<>(
        this, () -> next.newCall(method, options), isUnary, options.getDeadline());
  }

  static Metadata withToken(Metadata headers, String token) {
    Metadata result = new Metadata();
    result.merge(headers);
    if (token != null) {
      result.put(AUTHORIZATION, "Bearer " + token);
    }
    return result;
  }

  /** Takes the answer to a refresh. */
  private final class Refreshed implements StreamObserver<RefreshSessionResponse> {
    private final String old;
    private final CompletableFuture<Void> done;

    private Refreshed(String old, CompletableFuture<Void> done) {
      this.old = old;
      this.done = done;
    }

    @Override
    public void onNext(RefreshSessionResponse response) {
      finishRefresh(old, response.getSession());
    }

    @Override
    public void onError(Throwable error) {
      StatusRuntimeException failure = (StatusRuntimeException) error;
      if (FanfareError.of(failure).reason() == ErrorReason.ERROR_REASON_INVALID_REFRESH_TOKEN) {
        finishRefresh(old, null);
      } else {
        failRefresh();
      }
      done.completeExceptionally(failure);
    }

    @Override
    public void onCompleted() {
      done.complete(null);
    }
  }
}
