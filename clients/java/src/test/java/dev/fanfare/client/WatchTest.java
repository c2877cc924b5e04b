package dev.fanfare.client;

import static dev.fanfare.client.Fakes.HEARTBEAT;
import static dev.fanfare.client.Fakes.RESET;
import static dev.fanfare.client.Fakes.connection;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.rpc.Code;
import dev.fanfare.auth.v1.Session;
import dev.fanfare.common.v1.Tweet;
import dev.fanfare.read.v1.WatchHomeTimelineRequest;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

class WatchTest {
  private static final StatusRuntimeException NOT_FOUND =
      Fakes.failure(Code.NOT_FOUND, "USER_NOT_FOUND", 0);

  private final Fakes fakes = new Fakes();
  private final List<Duration> pauses = new ArrayList<>();
  private Status ended;

  @AfterEach
  void close() {
    fakes.close();
  }

  /** Returns the ids of all timelines that a watch returns, until it fails. */
  private List<List<Long>> seen(Session session) {
    List<List<Long>> timelines = new ArrayList<>();
    WatchHomeTimelineRequest request =
        WatchHomeTimelineRequest.newBuilder().setUserId(7).setConsistencyToken("c").build();
    try (Watch watch = fakes.client(session).watch(request)) {
      watch.setPause(pauses::add);
      while (watch.hasNext()) {
        timelines.add(watch.next().stream().map(Tweet::getId).toList());
      }
    } catch (StatusRuntimeException failure) {
      ended = failure.getStatus();
    }
    return timelines;
  }

  private List<String> resumeTokens() {
    return fakes.watchRequests.stream().map(WatchHomeTimelineRequest::getResumeToken).toList();
  }

  @Test
  void returnsTheTimelineAtHeartbeats() {
    fakes.watches.add(
        connection(
            NOT_FOUND, 1, 2, HEARTBEAT, HEARTBEAT, -1, -9, 3, HEARTBEAT, RESET, 5, HEARTBEAT, 6));
    assertEquals(List.of(List.of(2L, 1L), List.of(3L, 2L), List.of(5L)), seen(null));
    assertEquals(Status.Code.NOT_FOUND, ended.getCode());
  }

  @Test
  void anEmptyTimelineIsKnownToBeEmpty() {
    fakes.watches.add(connection(NOT_FOUND, HEARTBEAT, HEARTBEAT));
    assertEquals(List.of(List.of()), seen(null));
  }

  @Test
  void resumesFromItsLastEvent() {
    List<StatusRuntimeException> ends = new ArrayList<>();
    ends.add(null);
    ends.add(Fakes.failure(Code.UNAVAILABLE, "SHUTTING_DOWN", 3));
    ends.add(Fakes.failure(Code.RESOURCE_EXHAUSTED, "TOO_MANY_WATCHES", 2));
    ends.add(Status.INTERNAL.withDescription("RST_STREAM").asRuntimeException());
    ends.add(Status.DEADLINE_EXCEEDED.withDescription("of a proxy").asRuntimeException());
    // Cut between two heartbeats: the tweet is kept, but not yet returned.
    ends.forEach(end -> fakes.watches.add(connection(end, 1, HEARTBEAT, 2)));
    fakes.watches.add(connection(NOT_FOUND, HEARTBEAT));
    List<Long> both = List.of(2L, 1L);
    assertEquals(List.of(List.of(1L), both, both, both, both, both), seen(null));
    assertEquals(List.of("", "3", "3", "3", "3", "3"), resumeTokens());
    assertEquals(List.of(Duration.ofSeconds(3), Duration.ofSeconds(2)), pauses.subList(1, 3));
    for (Duration pause : List.of(pauses.get(0), pauses.get(3), pauses.get(4))) {
      assertTrue(pause.compareTo(Watch.FIRST_BACKOFF) <= 0, pause.toString());
      assertTrue(pause.compareTo(Watch.FIRST_BACKOFF.dividedBy(2)) >= 0, pause.toString());
    }
  }

  @Test
  void theConsistencyTokenIsSentUntilTheFirstHeartbeat() {
    fakes.watches.add(connection(null, 1));
    fakes.watches.add(connection(null, HEARTBEAT));
    fakes.watches.add(connection(NOT_FOUND));
    seen(null);
    assertEquals(
        List.of("c", "c", ""),
        fakes.watchRequests.stream().map(WatchHomeTimelineRequest::getConsistencyToken).toList());
  }

  @Test
  void aRefusedResumeTokenIsForgottenWithTheTweets() {
    fakes.watches.add(connection(null, 1, HEARTBEAT));
    fakes.watches.add(
        connection(Fakes.failure(Code.INVALID_ARGUMENT, "INVALID_RESUME_TOKEN", 0)));
    fakes.watches.add(connection(NOT_FOUND, 2, HEARTBEAT));
    assertEquals(List.of(List.of(1L), List.of(2L)), seen(null));
    assertEquals(List.of("", "2", ""), resumeTokens());
  }

  @Test
  void refreshesItsSessionOnce() {
    StatusRuntimeException refused = Fakes.failure(Code.UNAUTHENTICATED, "UNAUTHENTICATED", 0);
    fakes.watches.add(connection(refused, HEARTBEAT)); // accepted, and ended later
    fakes.watches.add(connection(refused));
    seen(Fakes.session(1, fakes.expires));
    assertEquals(Status.Code.UNAUTHENTICATED, ended.getCode());
    assertEquals(List.of("Bearer access-1", "Bearer access-2"), fakes.tokens);
  }

  @Test
  @Timeout(30)
  void endsWhenAnotherThreadClosesIt() {
    Watch watch = fakes.client(null).watch(WatchHomeTimelineRequest.getDefaultInstance());
    fakes.watches.add(stream -> watch.close()); // in a thread of the server
    assertFalse(watch.hasNext());
  }

  @Test
  @Timeout(30)
  void endsWhenItsClientIsClosed() {
    FanfareClient client = fakes.client(null);
    Watch watch = client.watch(WatchHomeTimelineRequest.getDefaultInstance());
    fakes.watches.add(stream -> client.close()); // in a thread of the server
    assertFalse(watch.hasNext());
  }

  @Test
  void backoffGrowsToItsLimitAndIsRandom() {
    Map<Integer, Duration> longest =
        Map.of(
            1, Watch.FIRST_BACKOFF,
            2, Watch.FIRST_BACKOFF.multipliedBy(2),
            20, Watch.MAX_BACKOFF,
            1000, Watch.MAX_BACKOFF);
    longest.forEach(
        (failures, want) -> {
          assertEquals(want, Watch.backoff(failures, 1));
          assertEquals(want.dividedBy(2), Watch.backoff(failures, 0));
        });
  }
}
