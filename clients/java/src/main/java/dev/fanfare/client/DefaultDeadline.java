package dev.fanfare.client;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.MethodDescriptor;
import java.util.concurrent.TimeUnit;

/**
 * Gives a deadline of ten seconds to calls that have none. Calls wait for a connection, so without a
 * deadline they could wait without end.
 */
final class DefaultDeadline implements ClientInterceptor {
  private static final long SECONDS = 10;

  @Override
  public <Q, R> ClientCall<Q, R> interceptCall(
      MethodDescriptor<Q, R> method, CallOptions options, Channel next) {
    boolean needed =
        options.getDeadline() == null && method.getType() == MethodDescriptor.MethodType.UNARY;
    return next.newCall(
        method, needed ? options.withDeadlineAfter(SECONDS, TimeUnit.SECONDS) : options);
  }
}
