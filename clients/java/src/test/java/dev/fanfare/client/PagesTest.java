package dev.fanfare.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.rpc.Code;
import dev.fanfare.common.v1.Tweet;
import dev.fanfare.read.v1.GetHomeTimelineRequest;
import dev.fanfare.read.v1.GetHomeTimelineResponse;
import io.grpc.StatusRuntimeException;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class PagesTest {
  private final Fakes fakes = new Fakes();
  private final List<GetHomeTimelineRequest> asked = new ArrayList<>();

  @AfterEach
  void close() {
    fakes.close();
  }

  private static GetHomeTimelineResponse page(String nextToken, long... ids) {
    GetHomeTimelineResponse.Builder page =
        GetHomeTimelineResponse.newBuilder().setNextPageToken(nextToken);
    for (long id : ids) {
      page.addTweetsBuilder().setId(id);
    }
    return page.build();
  }

  @Test
  void returnsTheItemsOfAllPages() {
    fakes.timeline =
        request -> {
          asked.add(request);
          return request.getPageToken().isEmpty() ? page("second", 5, 4) : page("", 3);
        };
    GetHomeTimelineRequest request =
        GetHomeTimelineRequest.newBuilder()
            .setUserId(7)
            .setLimit(2)
            .setOffset(1)
            .setConsistencyToken("c")
            .build();
    assertEquals(
        List.of(5L, 4L, 3L),
        fakes.client(null).homeTimeline(request).map(Tweet::getId).toList());
    assertEquals(
        List.of(request, request.toBuilder().clearOffset().setPageToken("second").build()), asked);
  }

  @Test
  void readsNoPageThatNobodyWants() {
    fakes.timeline =
        request -> {
          asked.add(request);
          return page("more", 5, 4);
        };
    var tweets = fakes.client(null).homeTimeline(GetHomeTimelineRequest.getDefaultInstance());
    assertEquals(0, asked.size());
    assertEquals(2, tweets.limit(2).count());
    assertEquals(1, asked.size());
  }

  @Test
  void throwsTheErrorOfAPage() {
    fakes.timeline =
        request -> {
          throw Fakes.failure(Code.NOT_FOUND, "USER_NOT_FOUND", 0);
        };
    var tweets = fakes.client(null).homeTimeline(GetHomeTimelineRequest.getDefaultInstance());
    assertThrows(StatusRuntimeException.class, tweets::toList);
  }
}
