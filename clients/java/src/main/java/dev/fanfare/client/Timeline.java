package dev.fanfare.client;

import dev.fanfare.common.v1.Tweet;
import dev.fanfare.read.v1.WatchHomeTimelineResponse;
import java.util.Comparator;
import java.util.List;
import java.util.TreeMap;

/** What a watching client holds: tweets by id. */
final class Timeline {
  private final TreeMap<Long, Tweet> tweets = new TreeMap<>(Comparator.reverseOrder());

  /** Changes the timeline as an event says. A heartbeat changes nothing. */
  void apply(WatchHomeTimelineResponse event) {
    switch (event.getEventCase()) {
      case TWEET -> tweets.put(event.getTweet().getId(), event.getTweet());
      case REMOVED_TWEET_ID -> tweets.remove(event.getRemovedTweetId());
      case RESET -> tweets.clear();
      default -> {}
    }
  }

  void clear() {
    tweets.clear();
  }

  List<Tweet> newestFirst() {
    return List.copyOf(tweets.values());
  }
}
