package dev.fanfare.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertSame;

import dev.fanfare.write.v1.BatchCreateTweetsRequest;
import dev.fanfare.write.v1.CreateTweetRequest;
import dev.fanfare.write.v1.DeleteTweetRequest;
import java.util.UUID;
import org.junit.jupiter.api.Test;

class RequestIdsTest {
  @Test
  void aRepeatedCallHasTheSameRequestId() {
    try (Fakes fakes = new Fakes()) {
      fakes.client(null).write().createTweet(CreateTweetRequest.getDefaultInstance());
      assertEquals(2, fakes.requestIds.size());
      UUID first = UUID.fromString(fakes.requestIds.get(0));
      assertEquals(first, UUID.fromString(fakes.requestIds.get(1)));
    }
  }

  @Test
  void eachTweetOfABatchHasARequestId() {
    BatchCreateTweetsRequest.Builder batch = BatchCreateTweetsRequest.newBuilder();
    batch.addRequestsBuilder();
    batch.addRequestsBuilder().setRequestId("own");
    batch.addRequestsBuilder();
    var sent = (BatchCreateTweetsRequest) RequestIds.repeatable(batch.build());
    UUID first = UUID.fromString(sent.getRequests(0).getRequestId());
    assertEquals("own", sent.getRequests(1).getRequestId());
    assertNotEquals(first, UUID.fromString(sent.getRequests(2).getRequestId()));
  }

  @Test
  void otherRequestsAreSentAsTheyAre() {
    var request = DeleteTweetRequest.newBuilder().setTweetId(1).build();
    assertSame(request, RequestIds.repeatable(request));
  }
}
