package dev.fanfare.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.rpc.Code;
import dev.fanfare.auth.v1.AuthServiceGrpc;
import dev.fanfare.auth.v1.Session;
import dev.fanfare.errors.v1.ErrorReason;
import dev.fanfare.read.v1.GetUserRequest;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.time.Instant;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class SessionsTest {
  private final Fakes fakes = new Fakes();

  @AfterEach
  void close() {
    fakes.close();
  }

  private static void call(FanfareClient client) {
    client.read().getUser(GetUserRequest.getDefaultInstance());
  }

  /** Returns a session whose access token has been ended by the server. */
  private Session ended() {
    return Fakes.session(1, fakes.expires).toBuilder().setAccessToken("ended").build();
  }

  @Test
  void aTokenIsRefreshedBeforeItExpires() {
    FanfareClient client = fakes.client(Fakes.session(1, Instant.now().plusSeconds(30)));
    call(client);
    call(client);
    assertEquals(List.of("Bearer access-2", "Bearer access-2"), fakes.tokens);
    assertEquals(List.of(Fakes.session(2, fakes.expires)), fakes.stored);
  }

  @Test
  void aWrongClockDoesNotRefreshEveryCall() {
    fakes.expires = Instant.now().minusSeconds(3600);
    FanfareClient client = fakes.client(Fakes.session(1, fakes.expires));
    for (int number = 0; number < 5; number++) {
      call(client);
    }
    assertEquals(2, fakes.newest);
  }

  @Test
  void aFailedRefreshDoesNotDelayEveryCall() {
    fakes.refreshFailure = Fakes.failure(Code.INTERNAL, "INTERNAL", 0);
    FanfareClient client = fakes.client(Fakes.session(1, Instant.now().plusSeconds(30)));
    for (int number = 0; number < 5; number++) {
      call(client);
    }
    assertEquals(1, fakes.refreshes.get());
  }

  @Test
  void onlyARefusedTokenIsRefreshed() {
    fakes.refusal = Status.UNAUTHENTICATED.withDescription("of a proxy").asRuntimeException();
    FanfareClient client = fakes.client(ended());
    StatusRuntimeException failure =
        assertThrows(StatusRuntimeException.class, () -> call(client));
    assertEquals(Status.Code.UNAUTHENTICATED, failure.getStatus().getCode());
    assertEquals(0, fakes.refreshes.get());
  }

  @Test
  @Timeout(8) // sooner than the refreshes give up
  void aCallWaitsForARefreshOnlyUntilItsDeadline() {
    fakes.mayRefresh = new CountDownLatch(1);
    for (Session session : List.of(ended(), Fakes.session(1, Instant.now().plusSeconds(30)))) {
      var read = fakes.client(session).read().withDeadlineAfter(100, TimeUnit.MILLISECONDS);
      StatusRuntimeException failure =
          assertThrows(
              StatusRuntimeException.class,
              () -> read.getUser(GetUserRequest.getDefaultInstance()));
      assertEquals(Status.Code.DEADLINE_EXCEEDED, failure.getStatus().getCode());
      assertEquals(1, fakes.mayRefresh.getCount());
    }
    fakes.mayRefresh.countDown();
  }

  @Test
  void aSessionThatCannotBeStoredIsUsed() {
    FanfareClient client =
        fakes.client(
            ended(),
            created -> {
              throw new IllegalStateException("the disk is full");
            });
    assertThrows(StatusRuntimeException.class, () -> call(client));
    call(client);
    assertEquals(1, fakes.refreshes.get());
  }

  @Test
  void aRefusedTokenIsRefreshedOnceForAllCalls() {
    FanfareClient client = fakes.client(ended());
    Stream.generate(() -> CompletableFuture.runAsync(() -> call(client)))
        .limit(20)
        .toList()
        .forEach(CompletableFuture::join);
    assertEquals(2, fakes.newest);
  }

  @Test
  void aTokenThatWasReplacedIsNotRefreshedAgain() {
    Sessions sessions =
        new Sessions(
            AuthServiceGrpc.newStub(fakes.client(null).writeChannel()), ended(), stored -> {});
    sessions.refresh("ended", null);
    sessions.refresh("ended", null);
    assertEquals(2, fakes.newest);
    assertEquals("access-2", sessions.accessToken(null));
  }

  @Test
  void aRefusedRefreshTokenEndsTheSession() {
    fakes.newest = 5;
    FanfareClient client = fakes.client(Fakes.session(1, fakes.expires));
    StatusRuntimeException failure =
        assertThrows(StatusRuntimeException.class, () -> call(client));
    assertEquals(
        ErrorReason.ERROR_REASON_INVALID_REFRESH_TOKEN, FanfareError.of(failure).reason());
    assertThrows(StatusRuntimeException.class, () -> call(client));
    assertEquals("", fakes.tokens.get(fakes.tokens.size() - 1));
  }

  @Test
  void oneSignsInAndOut() {
    FanfareClient client = fakes.client(null);
    client.signIn("alice", "correct horse");
    call(client);
    client.signOut();
    StatusRuntimeException failure =
        assertThrows(StatusRuntimeException.class, () -> call(client));
    assertEquals(Status.Code.UNAUTHENTICATED, failure.getStatus().getCode());
  }
}
