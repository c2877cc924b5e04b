package dev.fanfare.client;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.fanfare.read.v1.GetUserRequest;
import io.grpc.Deadline;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

class DefaultDeadlineTest {
  @Test
  void callsWithoutADeadlineGetTenSeconds() {
    try (Fakes fakes = new Fakes()) {
      FanfareClient client = fakes.client(Fakes.session(1, fakes.expires));
      client.read().getUser(GetUserRequest.getDefaultInstance());
      assertTrue(fakes.deadline.isBefore(Deadline.after(10, TimeUnit.SECONDS)));
      client
          .read()
          .withDeadlineAfter(1, TimeUnit.HOURS)
          .getUser(GetUserRequest.getDefaultInstance());
      assertTrue(Deadline.after(59, TimeUnit.MINUTES).isBefore(fakes.deadline));
    }
  }
}
