package dev.fanfare.story;

import dev.fanfare.auth.v1.Session;
import dev.fanfare.client.FanfareClient;
import dev.fanfare.client.FanfareError;
import dev.fanfare.client.Watch;
import dev.fanfare.errors.v1.ErrorReason;
import dev.fanfare.read.v1.GetAccountRequest;
import dev.fanfare.read.v1.WatchHomeTimelineRequest;
import dev.fanfare.write.v1.UpdateUserRequest;
import io.grpc.ChannelCredentials;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import java.io.File;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * The conformance test of sessions. Its arguments: the targets of the write service and the read
 * service, a folder with ca.crt, tls.crt and tls.key, and a user's id, username and password. The
 * e-mail address of the user is changed.
 */
public final class SessionStory {
  private SessionStory() {}

  /** Tells the story. */
  public static void main(String[] arguments) throws Exception {
    String folder = arguments[2];
    ChannelCredentials credentials =
        TlsChannelCredentials.newBuilder()
            .trustManager(new File(folder, "ca.crt"))
            .keyManager(new File(folder, "tls.crt"), new File(folder, "tls.key"))
            .build();
    List<Session> stored = new CopyOnWriteArrayList<>();
    try (FanfareClient client =
        FanfareClient.builder(arguments[0], arguments[1])
            .credentials(credentials)
            .onSession(stored::add)
            .build()) {
      tell(client, stored, Long.parseLong(arguments[3]), arguments[4], arguments[5]);
    }
  }

  private static void tell(
      FanfareClient client, List<Session> stored, long userId, String username, String password)
      throws InterruptedException {
    client.signIn(username, password);
    GetAccountRequest account = GetAccountRequest.newBuilder().setUserId(userId).build();
    String email = client.read().getAccount(account).getEmail();
    System.out.println("ok sign in");

    // This ends all access tokens; the services notice within a second.
    UpdateUserRequest change =
        UpdateUserRequest.newBuilder()
            .setUserId(userId)
            .setEmail("new." + email)
            .setCurrentPassword(password)
            .build();
    client.write().updateUser(change);
    while (stored.size() < 2) {
      client.read().getAccount(account);
      Thread.sleep(50);
    }
    System.out.println("ok refresh");

    WatchHomeTimelineRequest watched =
        WatchHomeTimelineRequest.newBuilder().setUserId(userId).build();
    try (Watch watch = client.watch(watched)) {
      if (!watch.next().isEmpty()) {
        throw new AssertionError("the timeline is not empty");
      }
    }
    System.out.println("ok watch");

    client.signOut();
    try {
      client.read().getAccount(account);
    } catch (StatusRuntimeException failure) {
      if (FanfareError.of(failure).reason() == ErrorReason.ERROR_REASON_UNAUTHENTICATED) {
        System.out.println("ok sign out");
      }
    }
  }
}
