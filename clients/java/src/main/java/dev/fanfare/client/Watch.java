package dev.fanfare.client;

import dev.fanfare.common.v1.Tweet;
import dev.fanfare.errors.v1.ErrorReason;
import dev.fanfare.read.v1.ReadServiceGrpc.ReadServiceBlockingStub;
import dev.fanfare.read.v1.WatchHomeTimelineRequest;
import dev.fanfare.read.v1.WatchHomeTimelineResponse;
import dev.fanfare.read.v1.WatchHomeTimelineResponse.EventCase;
import io.grpc.Context;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;

/**
 * Follows a home timeline: its items are the newest tweets, newest first, at once and after every
 * change. An empty list says that the timeline is empty.
 *
 * <p>{@link #hasNext} and {@link #next} wait for the next change, and end when another thread closes
 * the watch or its client. When the connection is lost or the server restarts, the watch connects
 * again, until it is closed, and goes on from what it holds. They throw a StatusRuntimeException if that
 * does not help: no such user, no permission, no valid session. Only close is safe to call from other
 * threads.
 */
public final class Watch implements Iterator<List<Tweet>>, AutoCloseable {
  static final Duration FIRST_BACKOFF = Duration.ofMillis(200);
  static final Duration MAX_BACKOFF = Duration.ofSeconds(10);

  private final ReadServiceBlockingStub read;
  private final Sessions sessions;
  private final Context.CancellableContext context;
  private final CountDownLatch closed = new CountDownLatch(1);
  private final Timeline tweets = new Timeline();
  private Pause pause = delay -> closed.await(delay.toMillis(), TimeUnit.MILLISECONDS);

  /** The resume token is that of the last event. */
  private WatchHomeTimelineRequest request;

  /** The events of the connection; null if there is none. */
  private Iterator<WatchHomeTimelineResponse> events;

  /** The item that next() returns; null if it is not there yet. */
  private List<Tweet> ready;

  /** The access token of the connection. */
  private String token;

  private boolean hasChanged = true;

  /** Connections that ended since the last heartbeat. */
  private int failures;

  /** Whether the session was refreshed since the last heartbeat. */
  private boolean isRefreshed;

  /** Waits between two connections. */
  interface Pause {
    void await(Duration delay) throws InterruptedException;
  }

  /**
   * Describes a watch.
   *
   * @param open ends with the client
   */
  Watch(
      ReadServiceBlockingStub read,
      Sessions sessions,
      Context open,
      WatchHomeTimelineRequest request) {
    context = open.withCancellation();
    context.addListener(ended -> closed.countDown(), Runnable::run);
    this.read = read;
    this.sessions = sessions;
    this.request = request.toBuilder().clearResumeToken().build();
  }

  /** Replaces the waits between connections, for tests. */
  void setPause(Pause pause) {
    this.pause = pause;
  }

  @Override
  public boolean hasNext() {
    while (ready == null && closed.getCount() > 0) {
      Duration delay;
      try {
        ready = nextTimeline();
        if (ready != null) {
          break;
        }
        failures++;
        delay = backoff(failures, ThreadLocalRandom.current().nextDouble());
      } catch (StatusRuntimeException failure) {
        if (closed.getCount() == 0) {
          break;
        }
        delay = delayAfter(failure);
      }
      events = null;
      pause(delay);
    }
    return ready != null;
  }

  @Override
  public List<Tweet> next() {
    if (!hasNext()) {
      throw new NoSuchElementException("the watch is closed");
    }
    List<Tweet> result = ready;
    ready = null;
    return result;
  }

  /** Ends the watch. */
  @Override
  public void close() {
    context.cancel(null);
  }

  /** Returns the next timeline, or null if the server has ended the connection. */
  private List<Tweet> nextTimeline() {
    if (events == null) {
      token = sessions.accessToken(null);
      context.run(() -> events = read.watchHomeTimeline(request));
    }
    while (events.hasNext()) {
      WatchHomeTimelineResponse event = events.next();
      tweets.apply(event);
      var next = request.toBuilder().setResumeToken(event.getResumeToken());
      if (event.getEventCase() == EventCase.HEARTBEAT) {
        next.clearConsistencyToken();
        failures = 0;
        isRefreshed = false;
      }
      request = next.build();
      // Between heartbeats the timeline may be incomplete.
      if (event.getEventCase() != EventCase.HEARTBEAT) {
        hasChanged = true;
      } else if (hasChanged) {
        hasChanged = false;
        return tweets.newestFirst();
      }
    }
    return null;
  }

  /** Returns how long to wait before the next connection, or throws the failure if that is no use. */
  private Duration delayAfter(StatusRuntimeException failure) {
    FanfareError error = FanfareError.of(failure);
    if (error.reason() == ErrorReason.ERROR_REASON_INVALID_RESUME_TOKEN
        && !request.getResumeToken().isEmpty()) {
      request = request.toBuilder().clearResumeToken().build();
      tweets.clear();
      hasChanged = true;
    } else if (error.reason() == ErrorReason.ERROR_REASON_UNAUTHENTICATED
        && token != null
        && !isRefreshed) {
      return refresh();
    } else if (!isTransient(error)) {
      throw failure;
    }
    failures++;
    return error.retryDelay().isZero()
        ? backoff(failures, ThreadLocalRandom.current().nextDouble())
        : error.retryDelay();
  }

  private Duration refresh() {
    try {
      sessions.refresh(token, null);
    } catch (StatusRuntimeException failure) {
      return delayAfter(failure);
    }
    isRefreshed = true;
    return Duration.ZERO;
  }

  private void pause(Duration delay) {
    try {
      pause.await(delay);
    } catch (InterruptedException interrupted) {
      Thread.currentThread().interrupt();
      throw Status.CANCELLED.withDescription("the thread was interrupted").asRuntimeException();
    }
  }

  /** Tells whether the same call may succeed later. */
  private static boolean isTransient(FanfareError error) {
    return switch (error.code()) {
      case UNAVAILABLE, RESOURCE_EXHAUSTED -> true;
      // Without a reason it comes from a proxy or a broken connection, not from Fanfare.
      case INTERNAL, UNKNOWN, CANCELLED, DEADLINE_EXCEEDED ->
          error.reason() == ErrorReason.ERROR_REASON_UNSPECIFIED;
      default -> false;
    };
  }

  /**
   * Returns the delay after so many failures in a row.
   *
   * @param random from 0 to 1, so that clients that lost the same server do not come back together
   */
  static Duration backoff(int failures, double random) {
    long longest =
        Math.min(FIRST_BACKOFF.toMillis() << Math.min(failures - 1, 10), MAX_BACKOFF.toMillis());
    return Duration.ofMillis((long) (longest * (0.5 + random / 2)));
  }
}
