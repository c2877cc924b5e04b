package dev.fanfare.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import dev.fanfare.errors.v1.ErrorReason;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.Map;

/**
 * Why a call failed.
 *
 * @param code the status code, which tells what to do about a reason that this client does not know
 * @param reason the reason, whose comment says which metadata it has. It is unspecified if the error
 *     did not come from Fanfare (an expired deadline, a lost connection), or if Fanfare is newer than
 *     this client.
 * @param message a sentence for people, whose wording may change
 * @param metadata what the error is about, such as "user_id" and "field"
 * @param retryDelay how long to wait before the call is repeated; zero if the server did not say
 */
public record FanfareError(
    Status.Code code,
    ErrorReason reason,
    String message,
    Map<String, String> metadata,
    Duration retryDelay) {
  private static final String DOMAIN = "fanfare";
  private static final String PREFIX = "ERROR_REASON_";

  /** Returns what a failed call says about its failure. */
  public static FanfareError of(StatusRuntimeException failure) {
    com.google.rpc.Status status = StatusProto.fromThrowable(failure);
    ErrorReason reason = ErrorReason.ERROR_REASON_UNSPECIFIED;
    Map<String, String> metadata = Map.of();
    Duration retryDelay = Duration.ZERO;
    try {
      for (Any detail : status.getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          ErrorInfo info = detail.unpack(ErrorInfo.class);
          if (info.getDomain().equals(DOMAIN)) {
            reason = reason(info.getReason());
            metadata = info.getMetadataMap();
          }
        } else if (detail.is(RetryInfo.class)) {
          var delay = detail.unpack(RetryInfo.class).getRetryDelay();
          retryDelay = Duration.ofSeconds(delay.getSeconds(), delay.getNanos());
        }
      }
    } catch (InvalidProtocolBufferException broken) {
      // A detail that cannot be read says nothing; the code still counts.
    }
    return new FanfareError(
        failure.getStatus().getCode(), reason, status.getMessage(), metadata, retryDelay);
  }

  private static ErrorReason reason(String name) {
    try {
      return ErrorReason.valueOf(PREFIX + name);
    } catch (IllegalArgumentException unknown) {
      return ErrorReason.ERROR_REASON_UNSPECIFIED;
    }
  }
}
