package dev.fanfare.client;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.google.rpc.Code;
import dev.fanfare.errors.v1.ErrorReason;
import io.grpc.Status;
import java.time.Duration;
import java.util.Map;
import org.junit.jupiter.api.Test;

class FanfareErrorTest {
  @Test
  void hasTheReasonAndItsDetails() {
    assertEquals(
        new FanfareError(
            Status.Code.NOT_FOUND,
            ErrorReason.ERROR_REASON_USER_NOT_FOUND,
            "what is wrong",
            Map.of("user_id", "7"),
            Duration.ofSeconds(3)),
        FanfareError.of(Fakes.failure(Code.NOT_FOUND, "USER_NOT_FOUND", 3)));
  }

  @Test
  void anUnknownReasonIsUnspecified() {
    FanfareError error = FanfareError.of(Fakes.failure(Code.ABORTED, "MADE_LATER", 0));
    assertEquals(Status.Code.ABORTED, error.code());
    assertEquals(ErrorReason.ERROR_REASON_UNSPECIFIED, error.reason());
  }

  @Test
  void anErrorOfTheTransportHasNoReason() {
    FanfareError error = FanfareError.of(Status.UNAVAILABLE.asRuntimeException());
    assertEquals(
        new FanfareError(
            Status.Code.UNAVAILABLE,
            ErrorReason.ERROR_REASON_UNSPECIFIED,
            "",
            Map.of(),
            Duration.ZERO),
        error);
  }
}
