package dev.fanfare.story;

import dev.fanfare.client.FanfareClient;
import dev.fanfare.client.FanfareError;
import dev.fanfare.client.Watch;
import dev.fanfare.common.v1.Tweet;
import dev.fanfare.common.v1.User;
import dev.fanfare.errors.v1.ErrorReason;
import dev.fanfare.read.v1.GetHomeTimelineRequest;
import dev.fanfare.read.v1.GetUserRequest;
import dev.fanfare.read.v1.WatchHomeTimelineRequest;
import dev.fanfare.write.v1.BatchCreateTweetsRequest;
import dev.fanfare.write.v1.BatchCreateTweetsResult;
import dev.fanfare.write.v1.CreateTweetRequest;
import dev.fanfare.write.v1.CreateUserRequest;
import dev.fanfare.write.v1.DeleteTweetRequest;
import dev.fanfare.write.v1.FollowUserRequest;
import dev.fanfare.write.v1.UpdateTweetRequest;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.TimeUnit;

/**
 * Fanfare's conformance test of this client: prints a line for each step that a running system
 * passed. Its arguments are the targets of the write service and the read service. After "watch sees a
 * removal" it reads a line; meanwhile its connections may be cut.
 */
public final class Story {
  private final FanfareClient client;
  private User alice;
  private User bob;
  private String token;
  private Tweet first;
  private Tweet latest;

  private Story(FanfareClient client) {
    this.client = client;
  }

  /** Tells the story. */
  public static void main(String[] arguments) throws Exception {
    if (arguments.length != 2) {
      System.err.println("usage: Story WRITE_TARGET READ_TARGET");
      System.exit(2);
    }
    try (FanfareClient client = FanfareClient.builder(arguments[0], arguments[1]).build()) {
      new Story(client).tell();
    } catch (AssertionError | StatusRuntimeException failure) {
      System.err.println(failure);
      System.exit(1);
    }
  }

  private void tell() throws IOException {
    step("sign up", this::signUp);
    step("follow", this::follow);
    step("post and read with the token", this::post);
    step("page to the end", this::pageToTheEnd);
    watch();
    step("typed error", this::typedError);
    step("deadline exceeded", this::deadline);
    step("request_id makes a retry safe", this::requestId);
  }

  private static void step(String name, Runnable run) {
    run.run();
    System.out.println("ok " + name);
  }

  private static void check(boolean isTrue, String wrong) {
    if (!isTrue) {
      throw new AssertionError(wrong);
    }
  }

  private void signUp() {
    alice = newUser("alice");
    bob = newUser("bob");
  }

  private User newUser(String name) {
    String username = name + "_" + UUID.randomUUID().toString().substring(0, 8);
    CreateUserRequest request =
        CreateUserRequest.newBuilder()
            .setUsername(username)
            .setEmail(username + "@example.com")
            .setPassword("correct horse battery")
            .build();
    return client.write().createUser(request).getUser();
  }

  private void follow() {
    FollowUserRequest request =
        FollowUserRequest.newBuilder()
            .setFollowerId(alice.getId())
            .setFollowedId(bob.getId())
            .build();
    client.write().followUser(request);
  }

  private Tweet tweet(String content) {
    CreateTweetRequest request =
        CreateTweetRequest.newBuilder().setUserId(bob.getId()).setContent(content).build();
    var created = client.write().createTweet(request);
    token = created.getConsistencyToken();
    return created.getTweet();
  }

  private void post() {
    first = tweet("Hello from Java");
    GetHomeTimelineRequest request =
        GetHomeTimelineRequest.newBuilder()
            .setUserId(alice.getId())
            .setConsistencyToken(token)
            .build();
    List<Tweet> page = client.read().getHomeTimeline(request).getTweetsList();
    check(page.equals(List.of(first)), "the timeline is " + page);
  }

  private void pageToTheEnd() {
    BatchCreateTweetsRequest.Builder batch = BatchCreateTweetsRequest.newBuilder();
    for (int number = 0; number < 249; number++) {
      batch.addRequestsBuilder().setUserId(bob.getId()).setContent("number " + number);
    }
    var created = client.write().batchCreateTweets(batch.build());
    token = created.getConsistencyToken();
    List<Tweet> want = new ArrayList<>(List.of(first));
    created.getResultsList().stream().map(BatchCreateTweetsResult::getTweet).forEach(want::add);
    Collections.reverse(want);
    latest = want.get(0);
    GetHomeTimelineRequest request =
        GetHomeTimelineRequest.newBuilder()
            .setUserId(alice.getId())
            .setLimit(100)
            .setConsistencyToken(token)
            .build();
    List<Tweet> got = client.homeTimeline(request).toList();
    check(got.equals(want), want.size() + " tweets were posted, and read " + got);
  }

  private void watch() throws IOException {
    WatchHomeTimelineRequest request =
        WatchHomeTimelineRequest.newBuilder()
            .setUserId(alice.getId())
            .setLimit(5)
            .setConsistencyToken(token)
            .build();
    try (Watch watch = client.watch(request)) {
      waitFor(watch, latest.getId(), latest.getContent());
      Tweet added = tweet("to be edited");
      step("watch sees a new tweet", () -> waitFor(watch, added.getId(), "to be edited"));
      client
          .write()
          .updateTweet(
              UpdateTweetRequest.newBuilder()
                  .setTweetId(added.getId())
                  .setContent("edited")
                  .build());
      step("watch sees an edit", () -> waitFor(watch, added.getId(), "edited"));
      client
          .write()
          .deleteTweet(DeleteTweetRequest.newBuilder().setTweetId(added.getId()).build());
      step(
          "watch sees a removal", () -> waitFor(watch, latest.getId(), latest.getContent()));
      // Whoever runs the story cuts the connection now, and then writes a line.
      System.in.read();
      Tweet last = tweet("after the cut");
      step(
          "watch resumes after its connection is cut",
          () -> waitFor(watch, last.getId(), "after the cut"));
    }
  }

  /** Waits for a timeline whose newest tweet has the given id and content. */
  private static void waitFor(Watch watch, long id, String content) {
    while (true) {
      List<Tweet> tweets = watch.next();
      if (tweets.size() == 5
          && tweets.get(0).getId() == id
          && tweets.get(0).getContent().equals(content)) {
        return;
      }
    }
  }

  private void typedError() {
    long nobody = 1L << 60;
    try {
      client.read().getUser(GetUserRequest.newBuilder().setUserId(nobody).build());
    } catch (StatusRuntimeException failure) {
      FanfareError error = FanfareError.of(failure);
      check(error.reason() == ErrorReason.ERROR_REASON_USER_NOT_FOUND, "got " + error);
      check(Long.toString(nobody).equals(error.metadata().get("user_id")), "got " + error);
      return;
    }
    throw new AssertionError("a user was found whom nobody has created");
  }

  private void deadline() {
    GetUserRequest request = GetUserRequest.newBuilder().setUserId(alice.getId()).build();
    try {
      client.read().withDeadlineAfter(1, TimeUnit.NANOSECONDS).getUser(request);
    } catch (StatusRuntimeException failure) {
      check(
          failure.getStatus().getCode() == Status.Code.DEADLINE_EXCEEDED, failure.toString());
      return;
    }
    throw new AssertionError("a call outlived its deadline");
  }

  private void requestId() {
    CreateTweetRequest request =
        CreateTweetRequest.newBuilder()
            .setUserId(bob.getId())
            .setContent("once")
            .setRequestId(UUID.randomUUID().toString())
            .build();
    Tweet first = client.write().createTweet(request).getTweet();
    Tweet second = client.write().createTweet(request).getTweet();
    check(first.equals(second), "there are two tweets: " + first + second);
  }
}
