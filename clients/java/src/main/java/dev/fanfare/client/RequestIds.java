package dev.fanfare.client;

import dev.fanfare.write.v1.BatchCreateTweetsRequest;
import dev.fanfare.write.v1.CreateTweetRequest;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.MethodDescriptor;
import java.util.UUID;

/** Makes it safe to repeat calls that create tweets: each tweet to create has a request_id. */
final class RequestIds implements ClientInterceptor {
  @Override
  public <Q, R> ClientCall<Q, R> interceptCall(
      MethodDescriptor<Q, R> method, CallOptions options, Channel next) {
    return new SimpleForwardingClientCall<Q, R>(next.newCall(method, options)) {
      @Override
      @SuppressWarnings("unchecked") // A request is replaced by one of its own class.
      public void sendMessage(Q message) {
        super.sendMessage((Q) repeatable(message));
      }
    };
  }

  /** Returns a request that can be sent twice without creating a tweet twice. */
  static Object repeatable(Object request) {
    if (request instanceof CreateTweetRequest tweet) {
      CreateTweetRequest.Builder repeatable = tweet.toBuilder();
      setRequestId(repeatable);
      return repeatable.build();
    }
    if (request instanceof BatchCreateTweetsRequest batch) {
      BatchCreateTweetsRequest.Builder repeatable = batch.toBuilder();
      repeatable.getRequestsBuilderList().forEach(RequestIds::setRequestId);
      return repeatable.build();
    }
    return request;
  }

  private static void setRequestId(CreateTweetRequest.Builder tweet) {
    if (tweet.getRequestId().isEmpty()) {
      tweet.setRequestId(UUID.randomUUID().toString());
    }
  }
}
