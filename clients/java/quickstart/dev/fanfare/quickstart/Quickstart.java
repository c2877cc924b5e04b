package dev.fanfare.quickstart;

import dev.fanfare.client.FanfareClient;
import dev.fanfare.client.FanfareError;
import dev.fanfare.client.Watch;
import dev.fanfare.read.v1.GetHomeTimelineRequest;
import dev.fanfare.read.v1.WatchHomeTimelineRequest;
import dev.fanfare.write.v1.CreateTweetRequest;
import io.grpc.StatusRuntimeException;

/** The quick start of README.md: user 2 posts, and user 1, who follows user 2, reads and watches. */
public final class Quickstart {
  private Quickstart() {}

  /** Runs until it is interrupted. */
  public static void main(String[] arguments) {
    try (FanfareClient client = FanfareClient.builder("127.0.0.1:50051", "127.0.0.1:50052").build()) {
      var tweet = CreateTweetRequest.newBuilder().setUserId(2).setContent("Hello from Java").build();
      String token = client.write().createTweet(tweet).getConsistencyToken();
      var page = GetHomeTimelineRequest.newBuilder().setUserId(1).setConsistencyToken(token).build();
      client.homeTimeline(page).forEach(found -> System.out.println(found.getContent()));
      var watched = WatchHomeTimelineRequest.newBuilder().setUserId(1).setLimit(10).build();
      try (Watch watch = client.watch(watched)) {
        watch.forEachRemaining(tweets -> System.out.println("live: " + tweets.size() + " tweets"));
      }
    } catch (StatusRuntimeException failure) {
      FanfareError error = FanfareError.of(failure);
      System.err.println(error.reason() + ": " + error.metadata());
    }
  }
}
