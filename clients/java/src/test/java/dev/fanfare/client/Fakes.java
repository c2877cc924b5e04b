package dev.fanfare.client;

import com.google.protobuf.Any;
import com.google.protobuf.Duration;
import com.google.protobuf.Timestamp;
import com.google.rpc.Code;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import com.google.rpc.Status;
import dev.fanfare.auth.v1.AuthServiceGrpc;
import dev.fanfare.auth.v1.CreateSessionRequest;
import dev.fanfare.auth.v1.CreateSessionResponse;
import dev.fanfare.auth.v1.RefreshSessionRequest;
import dev.fanfare.auth.v1.RefreshSessionResponse;
import dev.fanfare.auth.v1.RevokeSessionRequest;
import dev.fanfare.auth.v1.RevokeSessionResponse;
import dev.fanfare.auth.v1.Session;
import dev.fanfare.common.v1.Tweet;
import dev.fanfare.read.v1.GetHomeTimelineRequest;
import dev.fanfare.read.v1.GetHomeTimelineResponse;
import dev.fanfare.read.v1.GetUserRequest;
import dev.fanfare.read.v1.GetUserResponse;
import dev.fanfare.read.v1.Heartbeat;
import dev.fanfare.read.v1.ReadServiceGrpc;
import dev.fanfare.read.v1.Reset;
import dev.fanfare.read.v1.WatchHomeTimelineRequest;
import dev.fanfare.read.v1.WatchHomeTimelineResponse;
import dev.fanfare.write.v1.CreateTweetRequest;
import dev.fanfare.write.v1.CreateTweetResponse;
import dev.fanfare.write.v1.WriteServiceGrpc;
import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.Deadline;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.ServerInterceptors;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.NettyServerBuilder;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.time.Instant;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Deque;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.function.Function;

/** Servers whose answers a test scripts. */
final class Fakes implements AutoCloseable {
  static final long HEARTBEAT = 0;
  static final long RESET = Long.MIN_VALUE;

  private static final Context.Key<String> AUTHORIZATION = Context.key("authorization");

  Function<GetHomeTimelineRequest, GetHomeTimelineResponse> timeline;

  /** The connections of watches, in turn. */
  final Deque<Consumer<StreamObserver<WatchHomeTimelineResponse>>> watches = new ArrayDeque<>();

  final List<WatchHomeTimelineRequest> watchRequests =
      Collections.synchronizedList(new ArrayList<>());

  /** The authorization of each GetUser and watch; "" if there was none. */
  final List<String> tokens = Collections.synchronizedList(new ArrayList<>());

  /** The request_id of each CreateTweet, of which the first one fails with UNAVAILABLE. */
  final List<String> requestIds = Collections.synchronizedList(new ArrayList<>());

  /** The number of the only access token and the only refresh token that are accepted. */
  volatile int newest = 1;

  /** The deadline of the last GetUser. */
  volatile Deadline deadline;

  /** What a GetUser fails with that has another access token. */
  StatusRuntimeException refusal = failure(Code.UNAUTHENTICATED, "UNAUTHENTICATED", 0);

  /** What a refresh fails with; null if it succeeds. */
  StatusRuntimeException refreshFailure;

  /** Refreshes wait for this. */
  CountDownLatch mayRefresh = new CountDownLatch(0);

  final AtomicInteger refreshes = new AtomicInteger();

  Instant expires = Instant.now().plusSeconds(600);
  final List<Session> stored = Collections.synchronizedList(new ArrayList<>());
  private final Server server;
  private final List<FanfareClient> clients = new ArrayList<>();

  Fakes() {
    try {
      server =
          NettyServerBuilder.forAddress(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0))
              .addService(ServerInterceptors.intercept(new Reads(), new Authorization()))
              .addService(new Auth())
              .addService(new Writes())
              .build()
              .start();
    } catch (IOException error) {
      throw new AssertionError(error);
    }
  }

  FanfareClient client(Session session) {
    return client(session, stored::add);
  }

  FanfareClient client(Session session, Consumer<Session> onSession) {
    String target = "127.0.0.1:" + server.getPort();
    FanfareClient client =
        FanfareClient.builder(target, target).session(session).onSession(onSession).build();
    clients.add(client);
    return client;
  }

  @Override
  public void close() {
    clients.forEach(FanfareClient::close);
    server.shutdownNow();
  }

  /** Returns the session after so many refreshes. */
  static Session session(int number, Instant expires) {
    return Session.newBuilder()
        .setAccessToken("access-" + number)
        .setRefreshToken("refresh-" + number)
        .setAccessExpiresAt(Timestamp.newBuilder().setSeconds(expires.getEpochSecond()))
        .build();
  }

  /** Returns a failure as Fanfare sends it. */
  static StatusRuntimeException failure(Code code, String reason, int retrySeconds) {
    ErrorInfo info =
        ErrorInfo.newBuilder()
            .setReason(reason)
            .setDomain("fanfare")
            .putAllMetadata(Map.of("user_id", "7"))
            .build();
    Status.Builder status =
        Status.newBuilder()
            .setCode(code.getNumber())
            .setMessage("what is wrong")
            .addDetails(Any.pack(info));
    if (retrySeconds > 0) {
      Duration delay = Duration.newBuilder().setSeconds(retrySeconds).build();
      status.addDetails(Any.pack(RetryInfo.newBuilder().setRetryDelay(delay).build()));
    }
    return StatusProto.toStatusRuntimeException(status.build());
  }

  /**
   * Returns a connection with the given events, which then ends with an error, or well for null. A
   * positive number is a tweet, a negative one its removal. Resume tokens are numbered.
   */
  static Consumer<StreamObserver<WatchHomeTimelineResponse>> connection(
      StatusRuntimeException end, long... events) {
    return stream -> {
      int number = 0;
      for (long event : events) {
        number++;
        WatchHomeTimelineResponse.Builder response =
            WatchHomeTimelineResponse.newBuilder().setResumeToken(Integer.toString(number));
        if (event == HEARTBEAT) {
          response.setHeartbeat(Heartbeat.getDefaultInstance());
        } else if (event == RESET) {
          response.setReset(Reset.getDefaultInstance());
        } else if (event > 0) {
          response.setTweet(Tweet.newBuilder().setId(event));
        } else {
          response.setRemovedTweetId(-event);
        }
        stream.onNext(response.build());
      }
      if (end == null) {
        stream.onCompleted();
      } else {
        stream.onError(end);
      }
    };
  }

  private final class Reads extends ReadServiceGrpc.ReadServiceImplBase {
    @Override
    public void getUser(GetUserRequest request, StreamObserver<GetUserResponse> observer) {
      tokens.add(AUTHORIZATION.get());
      deadline = Context.current().getDeadline();
      if (AUTHORIZATION.get().equals("Bearer access-" + newest)) {
        observer.onNext(GetUserResponse.getDefaultInstance());
        observer.onCompleted();
      } else {
        observer.onError(refusal);
      }
    }

    @Override
    public void getHomeTimeline(
        GetHomeTimelineRequest request, StreamObserver<GetHomeTimelineResponse> observer) {
      try {
        observer.onNext(timeline.apply(request));
        observer.onCompleted();
      } catch (StatusRuntimeException failure) {
        observer.onError(failure);
      }
    }

    @Override
    public void watchHomeTimeline(
        WatchHomeTimelineRequest request, StreamObserver<WatchHomeTimelineResponse> observer) {
      watchRequests.add(request);
      tokens.add(AUTHORIZATION.get());
      watches.remove().accept(observer);
    }
  }

  private final class Writes extends WriteServiceGrpc.WriteServiceImplBase {
    @Override
    public void createTweet(
        CreateTweetRequest request, StreamObserver<CreateTweetResponse> observer) {
      requestIds.add(request.getRequestId());
      if (requestIds.size() == 1) {
        observer.onError(failure(Code.UNAVAILABLE, "DATABASE_UNAVAILABLE", 0));
        return;
      }
      observer.onNext(CreateTweetResponse.getDefaultInstance());
      observer.onCompleted();
    }
  }

  private final class Auth extends AuthServiceGrpc.AuthServiceImplBase {
    @Override
    public void createSession(
        CreateSessionRequest request, StreamObserver<CreateSessionResponse> observer) {
      observer.onNext(
          CreateSessionResponse.newBuilder().setSession(session(newest, expires)).build());
      observer.onCompleted();
    }

    @Override
    public void refreshSession(
        RefreshSessionRequest request, StreamObserver<RefreshSessionResponse> observer) {
      refreshes.incrementAndGet();
      try {
        mayRefresh.await();
      } catch (InterruptedException ended) {
        throw new AssertionError(ended);
      }
      if (refreshFailure != null) {
        observer.onError(refreshFailure);
        return;
      }
      synchronized (Fakes.this) {
        if (!request.getRefreshToken().equals("refresh-" + newest)) {
          observer.onError(failure(Code.UNAUTHENTICATED, "INVALID_REFRESH_TOKEN", 0));
          return;
        }
        newest++;
      }
      observer.onNext(
          RefreshSessionResponse.newBuilder().setSession(session(newest, expires)).build());
      observer.onCompleted();
    }

    @Override
    public void revokeSession(
        RevokeSessionRequest request, StreamObserver<RevokeSessionResponse> observer) {
      observer.onNext(RevokeSessionResponse.getDefaultInstance());
      observer.onCompleted();
    }
  }

  private static final class Authorization implements ServerInterceptor {
    @Override
    public <Q, R> ServerCall.Listener<Q> interceptCall(
        ServerCall<Q, R> call, Metadata headers, ServerCallHandler<Q, R> next) {
      String value =
          headers.get(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER));
      Context context = Context.current().withValue(AUTHORIZATION, value == null ? "" : value);
      return Contexts.interceptCall(context, call, headers, next);
    }
  }
}
