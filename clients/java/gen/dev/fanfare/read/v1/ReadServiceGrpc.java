package dev.fanfare.read.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * ReadService answers queries, from Redis or from Postgres. It goes on while Redis or Kafka is
 * down.
 * A request can carry a consistency token. The query then shows the effect of the command that
 * returned the token, and of all commands before it. If no database that answers can do that yet,
 * the query fails with NOT_YET_CONSISTENT. If the command may have been lost, because the
 * database was restored, failed over or restarted since, it fails with CONSISTENCY_TOKEN_LOST. If no
 * command returned the token, it fails with INVALID_CONSISTENCY_TOKEN.
 * A query without a token may lag behind by some milliseconds.
 * Lists have pages. A page token continues exactly after the last item of the page before, even if
 * items were added or removed meanwhile, and it reaches the end of every list. An offset counts
 * items from the start, so it shifts as items are added, and it reaches 10,000 items deep. An empty
 * next_page_token says that there are no more items.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class ReadServiceGrpc {

  private ReadServiceGrpc() {}

  public static final String SERVICE_NAME = "fanfare.read.v1.ReadService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.fanfare.read.v1.GetUserRequest,
      dev.fanfare.read.v1.GetUserResponse> getGetUserMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetUser",
      requestType = dev.fanfare.read.v1.GetUserRequest.class,
      responseType = dev.fanfare.read.v1.GetUserResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fanfare.read.v1.GetUserRequest,
      dev.fanfare.read.v1.GetUserResponse> getGetUserMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.read.v1.GetUserRequest, dev.fanfare.read.v1.GetUserResponse> getGetUserMethod;
    if ((getGetUserMethod = ReadServiceGrpc.getGetUserMethod) == null) {
      synchronized (ReadServiceGrpc.class) {
        if ((getGetUserMethod = ReadServiceGrpc.getGetUserMethod) == null) {
          ReadServiceGrpc.getGetUserMethod = getGetUserMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.read.v1.GetUserRequest, dev.fanfare.read.v1.GetUserResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetUser"))
              .setSafe(true)
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.GetUserRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.GetUserResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ReadServiceMethodDescriptorSupplier("GetUser"))
              .build();
        }
      }
    }
    return getGetUserMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fanfare.read.v1.GetAccountRequest,
      dev.fanfare.read.v1.GetAccountResponse> getGetAccountMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetAccount",
      requestType = dev.fanfare.read.v1.GetAccountRequest.class,
      responseType = dev.fanfare.read.v1.GetAccountResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fanfare.read.v1.GetAccountRequest,
      dev.fanfare.read.v1.GetAccountResponse> getGetAccountMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.read.v1.GetAccountRequest, dev.fanfare.read.v1.GetAccountResponse> getGetAccountMethod;
    if ((getGetAccountMethod = ReadServiceGrpc.getGetAccountMethod) == null) {
      synchronized (ReadServiceGrpc.class) {
        if ((getGetAccountMethod = ReadServiceGrpc.getGetAccountMethod) == null) {
          ReadServiceGrpc.getGetAccountMethod = getGetAccountMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.read.v1.GetAccountRequest, dev.fanfare.read.v1.GetAccountResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetAccount"))
              .setSafe(true)
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.GetAccountRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.GetAccountResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ReadServiceMethodDescriptorSupplier("GetAccount"))
              .build();
        }
      }
    }
    return getGetAccountMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fanfare.read.v1.GetUserByUsernameRequest,
      dev.fanfare.read.v1.GetUserByUsernameResponse> getGetUserByUsernameMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetUserByUsername",
      requestType = dev.fanfare.read.v1.GetUserByUsernameRequest.class,
      responseType = dev.fanfare.read.v1.GetUserByUsernameResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fanfare.read.v1.GetUserByUsernameRequest,
      dev.fanfare.read.v1.GetUserByUsernameResponse> getGetUserByUsernameMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.read.v1.GetUserByUsernameRequest, dev.fanfare.read.v1.GetUserByUsernameResponse> getGetUserByUsernameMethod;
    if ((getGetUserByUsernameMethod = ReadServiceGrpc.getGetUserByUsernameMethod) == null) {
      synchronized (ReadServiceGrpc.class) {
        if ((getGetUserByUsernameMethod = ReadServiceGrpc.getGetUserByUsernameMethod) == null) {
          ReadServiceGrpc.getGetUserByUsernameMethod = getGetUserByUsernameMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.read.v1.GetUserByUsernameRequest, dev.fanfare.read.v1.GetUserByUsernameResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetUserByUsername"))
              .setSafe(true)
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.GetUserByUsernameRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.GetUserByUsernameResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ReadServiceMethodDescriptorSupplier("GetUserByUsername"))
              .build();
        }
      }
    }
    return getGetUserByUsernameMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fanfare.read.v1.BatchGetUsersRequest,
      dev.fanfare.read.v1.BatchGetUsersResponse> getBatchGetUsersMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "BatchGetUsers",
      requestType = dev.fanfare.read.v1.BatchGetUsersRequest.class,
      responseType = dev.fanfare.read.v1.BatchGetUsersResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fanfare.read.v1.BatchGetUsersRequest,
      dev.fanfare.read.v1.BatchGetUsersResponse> getBatchGetUsersMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.read.v1.BatchGetUsersRequest, dev.fanfare.read.v1.BatchGetUsersResponse> getBatchGetUsersMethod;
    if ((getBatchGetUsersMethod = ReadServiceGrpc.getBatchGetUsersMethod) == null) {
      synchronized (ReadServiceGrpc.class) {
        if ((getBatchGetUsersMethod = ReadServiceGrpc.getBatchGetUsersMethod) == null) {
          ReadServiceGrpc.getBatchGetUsersMethod = getBatchGetUsersMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.read.v1.BatchGetUsersRequest, dev.fanfare.read.v1.BatchGetUsersResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "BatchGetUsers"))
              .setSafe(true)
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.BatchGetUsersRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.BatchGetUsersResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ReadServiceMethodDescriptorSupplier("BatchGetUsers"))
              .build();
        }
      }
    }
    return getBatchGetUsersMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fanfare.read.v1.ListUsersRequest,
      dev.fanfare.read.v1.ListUsersResponse> getListUsersMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListUsers",
      requestType = dev.fanfare.read.v1.ListUsersRequest.class,
      responseType = dev.fanfare.read.v1.ListUsersResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fanfare.read.v1.ListUsersRequest,
      dev.fanfare.read.v1.ListUsersResponse> getListUsersMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.read.v1.ListUsersRequest, dev.fanfare.read.v1.ListUsersResponse> getListUsersMethod;
    if ((getListUsersMethod = ReadServiceGrpc.getListUsersMethod) == null) {
      synchronized (ReadServiceGrpc.class) {
        if ((getListUsersMethod = ReadServiceGrpc.getListUsersMethod) == null) {
          ReadServiceGrpc.getListUsersMethod = getListUsersMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.read.v1.ListUsersRequest, dev.fanfare.read.v1.ListUsersResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListUsers"))
              .setSafe(true)
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.ListUsersRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.ListUsersResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ReadServiceMethodDescriptorSupplier("ListUsers"))
              .build();
        }
      }
    }
    return getListUsersMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fanfare.read.v1.GetTweetRequest,
      dev.fanfare.read.v1.GetTweetResponse> getGetTweetMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetTweet",
      requestType = dev.fanfare.read.v1.GetTweetRequest.class,
      responseType = dev.fanfare.read.v1.GetTweetResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fanfare.read.v1.GetTweetRequest,
      dev.fanfare.read.v1.GetTweetResponse> getGetTweetMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.read.v1.GetTweetRequest, dev.fanfare.read.v1.GetTweetResponse> getGetTweetMethod;
    if ((getGetTweetMethod = ReadServiceGrpc.getGetTweetMethod) == null) {
      synchronized (ReadServiceGrpc.class) {
        if ((getGetTweetMethod = ReadServiceGrpc.getGetTweetMethod) == null) {
          ReadServiceGrpc.getGetTweetMethod = getGetTweetMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.read.v1.GetTweetRequest, dev.fanfare.read.v1.GetTweetResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetTweet"))
              .setSafe(true)
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.GetTweetRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.GetTweetResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ReadServiceMethodDescriptorSupplier("GetTweet"))
              .build();
        }
      }
    }
    return getGetTweetMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fanfare.read.v1.BatchGetTweetsRequest,
      dev.fanfare.read.v1.BatchGetTweetsResponse> getBatchGetTweetsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "BatchGetTweets",
      requestType = dev.fanfare.read.v1.BatchGetTweetsRequest.class,
      responseType = dev.fanfare.read.v1.BatchGetTweetsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fanfare.read.v1.BatchGetTweetsRequest,
      dev.fanfare.read.v1.BatchGetTweetsResponse> getBatchGetTweetsMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.read.v1.BatchGetTweetsRequest, dev.fanfare.read.v1.BatchGetTweetsResponse> getBatchGetTweetsMethod;
    if ((getBatchGetTweetsMethod = ReadServiceGrpc.getBatchGetTweetsMethod) == null) {
      synchronized (ReadServiceGrpc.class) {
        if ((getBatchGetTweetsMethod = ReadServiceGrpc.getBatchGetTweetsMethod) == null) {
          ReadServiceGrpc.getBatchGetTweetsMethod = getBatchGetTweetsMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.read.v1.BatchGetTweetsRequest, dev.fanfare.read.v1.BatchGetTweetsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "BatchGetTweets"))
              .setSafe(true)
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.BatchGetTweetsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.BatchGetTweetsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ReadServiceMethodDescriptorSupplier("BatchGetTweets"))
              .build();
        }
      }
    }
    return getBatchGetTweetsMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fanfare.read.v1.GetFollowRequest,
      dev.fanfare.read.v1.GetFollowResponse> getGetFollowMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetFollow",
      requestType = dev.fanfare.read.v1.GetFollowRequest.class,
      responseType = dev.fanfare.read.v1.GetFollowResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fanfare.read.v1.GetFollowRequest,
      dev.fanfare.read.v1.GetFollowResponse> getGetFollowMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.read.v1.GetFollowRequest, dev.fanfare.read.v1.GetFollowResponse> getGetFollowMethod;
    if ((getGetFollowMethod = ReadServiceGrpc.getGetFollowMethod) == null) {
      synchronized (ReadServiceGrpc.class) {
        if ((getGetFollowMethod = ReadServiceGrpc.getGetFollowMethod) == null) {
          ReadServiceGrpc.getGetFollowMethod = getGetFollowMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.read.v1.GetFollowRequest, dev.fanfare.read.v1.GetFollowResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetFollow"))
              .setSafe(true)
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.GetFollowRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.GetFollowResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ReadServiceMethodDescriptorSupplier("GetFollow"))
              .build();
        }
      }
    }
    return getGetFollowMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fanfare.read.v1.GetHomeTimelineRequest,
      dev.fanfare.read.v1.GetHomeTimelineResponse> getGetHomeTimelineMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetHomeTimeline",
      requestType = dev.fanfare.read.v1.GetHomeTimelineRequest.class,
      responseType = dev.fanfare.read.v1.GetHomeTimelineResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fanfare.read.v1.GetHomeTimelineRequest,
      dev.fanfare.read.v1.GetHomeTimelineResponse> getGetHomeTimelineMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.read.v1.GetHomeTimelineRequest, dev.fanfare.read.v1.GetHomeTimelineResponse> getGetHomeTimelineMethod;
    if ((getGetHomeTimelineMethod = ReadServiceGrpc.getGetHomeTimelineMethod) == null) {
      synchronized (ReadServiceGrpc.class) {
        if ((getGetHomeTimelineMethod = ReadServiceGrpc.getGetHomeTimelineMethod) == null) {
          ReadServiceGrpc.getGetHomeTimelineMethod = getGetHomeTimelineMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.read.v1.GetHomeTimelineRequest, dev.fanfare.read.v1.GetHomeTimelineResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetHomeTimeline"))
              .setSafe(true)
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.GetHomeTimelineRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.GetHomeTimelineResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ReadServiceMethodDescriptorSupplier("GetHomeTimeline"))
              .build();
        }
      }
    }
    return getGetHomeTimelineMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fanfare.read.v1.BatchGetHomeTimelinesRequest,
      dev.fanfare.read.v1.BatchGetHomeTimelinesResponse> getBatchGetHomeTimelinesMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "BatchGetHomeTimelines",
      requestType = dev.fanfare.read.v1.BatchGetHomeTimelinesRequest.class,
      responseType = dev.fanfare.read.v1.BatchGetHomeTimelinesResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fanfare.read.v1.BatchGetHomeTimelinesRequest,
      dev.fanfare.read.v1.BatchGetHomeTimelinesResponse> getBatchGetHomeTimelinesMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.read.v1.BatchGetHomeTimelinesRequest, dev.fanfare.read.v1.BatchGetHomeTimelinesResponse> getBatchGetHomeTimelinesMethod;
    if ((getBatchGetHomeTimelinesMethod = ReadServiceGrpc.getBatchGetHomeTimelinesMethod) == null) {
      synchronized (ReadServiceGrpc.class) {
        if ((getBatchGetHomeTimelinesMethod = ReadServiceGrpc.getBatchGetHomeTimelinesMethod) == null) {
          ReadServiceGrpc.getBatchGetHomeTimelinesMethod = getBatchGetHomeTimelinesMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.read.v1.BatchGetHomeTimelinesRequest, dev.fanfare.read.v1.BatchGetHomeTimelinesResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "BatchGetHomeTimelines"))
              .setSafe(true)
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.BatchGetHomeTimelinesRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.BatchGetHomeTimelinesResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ReadServiceMethodDescriptorSupplier("BatchGetHomeTimelines"))
              .build();
        }
      }
    }
    return getBatchGetHomeTimelinesMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fanfare.read.v1.ListUserTweetsRequest,
      dev.fanfare.read.v1.ListUserTweetsResponse> getListUserTweetsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListUserTweets",
      requestType = dev.fanfare.read.v1.ListUserTweetsRequest.class,
      responseType = dev.fanfare.read.v1.ListUserTweetsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fanfare.read.v1.ListUserTweetsRequest,
      dev.fanfare.read.v1.ListUserTweetsResponse> getListUserTweetsMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.read.v1.ListUserTweetsRequest, dev.fanfare.read.v1.ListUserTweetsResponse> getListUserTweetsMethod;
    if ((getListUserTweetsMethod = ReadServiceGrpc.getListUserTweetsMethod) == null) {
      synchronized (ReadServiceGrpc.class) {
        if ((getListUserTweetsMethod = ReadServiceGrpc.getListUserTweetsMethod) == null) {
          ReadServiceGrpc.getListUserTweetsMethod = getListUserTweetsMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.read.v1.ListUserTweetsRequest, dev.fanfare.read.v1.ListUserTweetsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListUserTweets"))
              .setSafe(true)
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.ListUserTweetsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.ListUserTweetsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ReadServiceMethodDescriptorSupplier("ListUserTweets"))
              .build();
        }
      }
    }
    return getListUserTweetsMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fanfare.read.v1.ListFollowersRequest,
      dev.fanfare.read.v1.ListFollowersResponse> getListFollowersMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListFollowers",
      requestType = dev.fanfare.read.v1.ListFollowersRequest.class,
      responseType = dev.fanfare.read.v1.ListFollowersResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fanfare.read.v1.ListFollowersRequest,
      dev.fanfare.read.v1.ListFollowersResponse> getListFollowersMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.read.v1.ListFollowersRequest, dev.fanfare.read.v1.ListFollowersResponse> getListFollowersMethod;
    if ((getListFollowersMethod = ReadServiceGrpc.getListFollowersMethod) == null) {
      synchronized (ReadServiceGrpc.class) {
        if ((getListFollowersMethod = ReadServiceGrpc.getListFollowersMethod) == null) {
          ReadServiceGrpc.getListFollowersMethod = getListFollowersMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.read.v1.ListFollowersRequest, dev.fanfare.read.v1.ListFollowersResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListFollowers"))
              .setSafe(true)
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.ListFollowersRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.ListFollowersResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ReadServiceMethodDescriptorSupplier("ListFollowers"))
              .build();
        }
      }
    }
    return getListFollowersMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fanfare.read.v1.ListFollowingRequest,
      dev.fanfare.read.v1.ListFollowingResponse> getListFollowingMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "ListFollowing",
      requestType = dev.fanfare.read.v1.ListFollowingRequest.class,
      responseType = dev.fanfare.read.v1.ListFollowingResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fanfare.read.v1.ListFollowingRequest,
      dev.fanfare.read.v1.ListFollowingResponse> getListFollowingMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.read.v1.ListFollowingRequest, dev.fanfare.read.v1.ListFollowingResponse> getListFollowingMethod;
    if ((getListFollowingMethod = ReadServiceGrpc.getListFollowingMethod) == null) {
      synchronized (ReadServiceGrpc.class) {
        if ((getListFollowingMethod = ReadServiceGrpc.getListFollowingMethod) == null) {
          ReadServiceGrpc.getListFollowingMethod = getListFollowingMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.read.v1.ListFollowingRequest, dev.fanfare.read.v1.ListFollowingResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "ListFollowing"))
              .setSafe(true)
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.ListFollowingRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.ListFollowingResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ReadServiceMethodDescriptorSupplier("ListFollowing"))
              .build();
        }
      }
    }
    return getListFollowingMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fanfare.read.v1.WatchHomeTimelineRequest,
      dev.fanfare.read.v1.WatchHomeTimelineResponse> getWatchHomeTimelineMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "WatchHomeTimeline",
      requestType = dev.fanfare.read.v1.WatchHomeTimelineRequest.class,
      responseType = dev.fanfare.read.v1.WatchHomeTimelineResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
  public static io.grpc.MethodDescriptor<dev.fanfare.read.v1.WatchHomeTimelineRequest,
      dev.fanfare.read.v1.WatchHomeTimelineResponse> getWatchHomeTimelineMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.read.v1.WatchHomeTimelineRequest, dev.fanfare.read.v1.WatchHomeTimelineResponse> getWatchHomeTimelineMethod;
    if ((getWatchHomeTimelineMethod = ReadServiceGrpc.getWatchHomeTimelineMethod) == null) {
      synchronized (ReadServiceGrpc.class) {
        if ((getWatchHomeTimelineMethod = ReadServiceGrpc.getWatchHomeTimelineMethod) == null) {
          ReadServiceGrpc.getWatchHomeTimelineMethod = getWatchHomeTimelineMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.read.v1.WatchHomeTimelineRequest, dev.fanfare.read.v1.WatchHomeTimelineResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.SERVER_STREAMING)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "WatchHomeTimeline"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.WatchHomeTimelineRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.read.v1.WatchHomeTimelineResponse.getDefaultInstance()))
              .setSchemaDescriptor(new ReadServiceMethodDescriptorSupplier("WatchHomeTimeline"))
              .build();
        }
      }
    }
    return getWatchHomeTimelineMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static ReadServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ReadServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ReadServiceStub>() {
        @java.lang.Override
        public ReadServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ReadServiceStub(channel, callOptions);
        }
      };
    return ReadServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static ReadServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ReadServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ReadServiceBlockingStub>() {
        @java.lang.Override
        public ReadServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ReadServiceBlockingStub(channel, callOptions);
        }
      };
    return ReadServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static ReadServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<ReadServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<ReadServiceFutureStub>() {
        @java.lang.Override
        public ReadServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new ReadServiceFutureStub(channel, callOptions);
        }
      };
    return ReadServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * ReadService answers queries, from Redis or from Postgres. It goes on while Redis or Kafka is
   * down.
   * A request can carry a consistency token. The query then shows the effect of the command that
   * returned the token, and of all commands before it. If no database that answers can do that yet,
   * the query fails with NOT_YET_CONSISTENT. If the command may have been lost, because the
   * database was restored, failed over or restarted since, it fails with CONSISTENCY_TOKEN_LOST. If no
   * command returned the token, it fails with INVALID_CONSISTENCY_TOKEN.
   * A query without a token may lag behind by some milliseconds.
   * Lists have pages. A page token continues exactly after the last item of the page before, even if
   * items were added or removed meanwhile, and it reaches the end of every list. An offset counts
   * items from the start, so it shifts as items are added, and it reaches 10,000 items deep. An empty
   * next_page_token says that there are no more items.
   * </pre>
   */
  public static abstract class ReadServiceImplBase implements io.grpc.BindableService {

    /**
     * <pre>
     * Returns one user. Errors: INVALID_REQUEST, USER_NOT_FOUND.
     * </pre>
     */
    public void getUser(dev.fanfare.read.v1.GetUserRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.GetUserResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetUserMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns a user with what only the user themselves may see. This needs authentication, because
     * without it nobody is known to be the user.
     * Errors: INVALID_REQUEST, USER_NOT_FOUND, AUTHENTICATION_OFF.
     * </pre>
     */
    public void getAccount(dev.fanfare.read.v1.GetAccountRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.GetAccountResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetAccountMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns the user with this username, ignoring case. Errors: INVALID_REQUEST, USER_NOT_FOUND.
     * </pre>
     */
    public void getUserByUsername(dev.fanfare.read.v1.GetUserByUsernameRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.GetUserByUsernameResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetUserByUsernameMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns the users with these ids, in request order and each once. Ids that no user has are left
     * out.
     * Errors: INVALID_REQUEST.
     * </pre>
     */
    public void batchGetUsers(dev.fanfare.read.v1.BatchGetUsersRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.BatchGetUsersResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getBatchGetUsersMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns all users, sorted by id, lowest first. Errors: INVALID_REQUEST, INVALID_PAGE_TOKEN.
     * </pre>
     */
    public void listUsers(dev.fanfare.read.v1.ListUsersRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.ListUsersResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListUsersMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns one tweet. Errors: INVALID_REQUEST, TWEET_NOT_FOUND.
     * </pre>
     */
    public void getTweet(dev.fanfare.read.v1.GetTweetRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.GetTweetResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetTweetMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns the tweets with these ids, in request order and each once. Ids that no tweet has are left
     * out.
     * Errors: INVALID_REQUEST.
     * </pre>
     */
    public void batchGetTweets(dev.fanfare.read.v1.BatchGetTweetsRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.BatchGetTweetsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getBatchGetTweetsMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns when one user began to follow another.
     * Errors: INVALID_REQUEST, FOLLOW_NOT_FOUND.
     * </pre>
     */
    public void getFollow(dev.fanfare.read.v1.GetFollowRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.GetFollowResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetFollowMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns the home timeline of a user: the tweets of everybody whom the user follows now, newest
     * first, without the user's own. A change shows once its event has passed through Kafka and the
     * fan-out worker, or at once in a query with the consistency token of the command.
     * Errors: INVALID_REQUEST, INVALID_PAGE_TOKEN, USER_NOT_FOUND.
     * </pre>
     */
    public void getHomeTimeline(dev.fanfare.read.v1.GetHomeTimelineRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.GetHomeTimelineResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetHomeTimelineMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns the first page of up to 100 home timelines, in request order and each once. A timeline
     * that cannot be read carries its own error, and the others are not affected. Errors:
     * INVALID_REQUEST, also if the number of users times the limit is more than 2,000 tweets.
     * </pre>
     */
    public void batchGetHomeTimelines(dev.fanfare.read.v1.BatchGetHomeTimelinesRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.BatchGetHomeTimelinesResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getBatchGetHomeTimelinesMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns the tweets that a user wrote, newest first.
     * Errors: INVALID_REQUEST, INVALID_PAGE_TOKEN, USER_NOT_FOUND.
     * </pre>
     */
    public void listUserTweets(dev.fanfare.read.v1.ListUserTweetsRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.ListUserTweetsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListUserTweetsMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns the followers of a user, newest follow first.
     * Errors: INVALID_REQUEST, INVALID_PAGE_TOKEN, USER_NOT_FOUND.
     * </pre>
     */
    public void listFollowers(dev.fanfare.read.v1.ListFollowersRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.ListFollowersResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListFollowersMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns the users whom a user follows, newest follow first.
     * Errors: INVALID_REQUEST, INVALID_PAGE_TOKEN, USER_NOT_FOUND.
     * </pre>
     */
    public void listFollowing(dev.fanfare.read.v1.ListFollowingRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.ListFollowingResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getListFollowingMethod(), responseObserver);
    }

    /**
     * <pre>
     * Watches the first page of a home timeline: sends its tweets, oldest first, and then what changes,
     * until the client ends the call. A client holds tweets by id. It does what each event says and
     * shows the tweets by id, newest first; then it shows what GetHomeTimeline with the same limit
     * returns, a moment later. Events are differences of states, not a log: several changes at once
     * become the events that lead to the latest state, so a slow client misses nothing that is left.
     * Each event carries the resume token of the state after it. After a lost connection, a client that
     * passes its latest resume token gets only the difference. A resume token does not expire.
     * The stream ends with SHUTTING_DOWN and RetryInfo when the process is replaced, with
     * UNAUTHENTICATED when the access token expires or is ended, and with USER_NOT_FOUND when the user
     * is deleted. In the first two cases watch again, with the latest resume token.
     * Errors: INVALID_REQUEST, INVALID_RESUME_TOKEN, USER_NOT_FOUND, TOO_MANY_WATCHES.
     * </pre>
     */
    public void watchHomeTimeline(dev.fanfare.read.v1.WatchHomeTimelineRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.WatchHomeTimelineResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getWatchHomeTimelineMethod(), responseObserver);
    }

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return io.grpc.ServerServiceDefinition.builder(getServiceDescriptor())
          .addMethod(
            getGetUserMethod(),
            io.grpc.stub.ServerCalls.asyncUnaryCall(
              new MethodHandlers<
                dev.fanfare.read.v1.GetUserRequest,
                dev.fanfare.read.v1.GetUserResponse>(
                  this, METHODID_GET_USER)))
          .addMethod(
            getGetAccountMethod(),
            io.grpc.stub.ServerCalls.asyncUnaryCall(
              new MethodHandlers<
                dev.fanfare.read.v1.GetAccountRequest,
                dev.fanfare.read.v1.GetAccountResponse>(
                  this, METHODID_GET_ACCOUNT)))
          .addMethod(
            getGetUserByUsernameMethod(),
            io.grpc.stub.ServerCalls.asyncUnaryCall(
              new MethodHandlers<
                dev.fanfare.read.v1.GetUserByUsernameRequest,
                dev.fanfare.read.v1.GetUserByUsernameResponse>(
                  this, METHODID_GET_USER_BY_USERNAME)))
          .addMethod(
            getBatchGetUsersMethod(),
            io.grpc.stub.ServerCalls.asyncUnaryCall(
              new MethodHandlers<
                dev.fanfare.read.v1.BatchGetUsersRequest,
                dev.fanfare.read.v1.BatchGetUsersResponse>(
                  this, METHODID_BATCH_GET_USERS)))
          .addMethod(
            getListUsersMethod(),
            io.grpc.stub.ServerCalls.asyncUnaryCall(
              new MethodHandlers<
                dev.fanfare.read.v1.ListUsersRequest,
                dev.fanfare.read.v1.ListUsersResponse>(
                  this, METHODID_LIST_USERS)))
          .addMethod(
            getGetTweetMethod(),
            io.grpc.stub.ServerCalls.asyncUnaryCall(
              new MethodHandlers<
                dev.fanfare.read.v1.GetTweetRequest,
                dev.fanfare.read.v1.GetTweetResponse>(
                  this, METHODID_GET_TWEET)))
          .addMethod(
            getBatchGetTweetsMethod(),
            io.grpc.stub.ServerCalls.asyncUnaryCall(
              new MethodHandlers<
                dev.fanfare.read.v1.BatchGetTweetsRequest,
                dev.fanfare.read.v1.BatchGetTweetsResponse>(
                  this, METHODID_BATCH_GET_TWEETS)))
          .addMethod(
            getGetFollowMethod(),
            io.grpc.stub.ServerCalls.asyncUnaryCall(
              new MethodHandlers<
                dev.fanfare.read.v1.GetFollowRequest,
                dev.fanfare.read.v1.GetFollowResponse>(
                  this, METHODID_GET_FOLLOW)))
          .addMethod(
            getGetHomeTimelineMethod(),
            io.grpc.stub.ServerCalls.asyncUnaryCall(
              new MethodHandlers<
                dev.fanfare.read.v1.GetHomeTimelineRequest,
                dev.fanfare.read.v1.GetHomeTimelineResponse>(
                  this, METHODID_GET_HOME_TIMELINE)))
          .addMethod(
            getBatchGetHomeTimelinesMethod(),
            io.grpc.stub.ServerCalls.asyncUnaryCall(
              new MethodHandlers<
                dev.fanfare.read.v1.BatchGetHomeTimelinesRequest,
                dev.fanfare.read.v1.BatchGetHomeTimelinesResponse>(
                  this, METHODID_BATCH_GET_HOME_TIMELINES)))
          .addMethod(
            getListUserTweetsMethod(),
            io.grpc.stub.ServerCalls.asyncUnaryCall(
              new MethodHandlers<
                dev.fanfare.read.v1.ListUserTweetsRequest,
                dev.fanfare.read.v1.ListUserTweetsResponse>(
                  this, METHODID_LIST_USER_TWEETS)))
          .addMethod(
            getListFollowersMethod(),
            io.grpc.stub.ServerCalls.asyncUnaryCall(
              new MethodHandlers<
                dev.fanfare.read.v1.ListFollowersRequest,
                dev.fanfare.read.v1.ListFollowersResponse>(
                  this, METHODID_LIST_FOLLOWERS)))
          .addMethod(
            getListFollowingMethod(),
            io.grpc.stub.ServerCalls.asyncUnaryCall(
              new MethodHandlers<
                dev.fanfare.read.v1.ListFollowingRequest,
                dev.fanfare.read.v1.ListFollowingResponse>(
                  this, METHODID_LIST_FOLLOWING)))
          .addMethod(
            getWatchHomeTimelineMethod(),
            io.grpc.stub.ServerCalls.asyncServerStreamingCall(
              new MethodHandlers<
                dev.fanfare.read.v1.WatchHomeTimelineRequest,
                dev.fanfare.read.v1.WatchHomeTimelineResponse>(
                  this, METHODID_WATCH_HOME_TIMELINE)))
          .build();
    }
  }

  /**
   * <pre>
   * ReadService answers queries, from Redis or from Postgres. It goes on while Redis or Kafka is
   * down.
   * A request can carry a consistency token. The query then shows the effect of the command that
   * returned the token, and of all commands before it. If no database that answers can do that yet,
   * the query fails with NOT_YET_CONSISTENT. If the command may have been lost, because the
   * database was restored, failed over or restarted since, it fails with CONSISTENCY_TOKEN_LOST. If no
   * command returned the token, it fails with INVALID_CONSISTENCY_TOKEN.
   * A query without a token may lag behind by some milliseconds.
   * Lists have pages. A page token continues exactly after the last item of the page before, even if
   * items were added or removed meanwhile, and it reaches the end of every list. An offset counts
   * items from the start, so it shifts as items are added, and it reaches 10,000 items deep. An empty
   * next_page_token says that there are no more items.
   * </pre>
   */
  public static final class ReadServiceStub extends io.grpc.stub.AbstractAsyncStub<ReadServiceStub> {
    private ReadServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ReadServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ReadServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Returns one user. Errors: INVALID_REQUEST, USER_NOT_FOUND.
     * </pre>
     */
    public void getUser(dev.fanfare.read.v1.GetUserRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.GetUserResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetUserMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns a user with what only the user themselves may see. This needs authentication, because
     * without it nobody is known to be the user.
     * Errors: INVALID_REQUEST, USER_NOT_FOUND, AUTHENTICATION_OFF.
     * </pre>
     */
    public void getAccount(dev.fanfare.read.v1.GetAccountRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.GetAccountResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetAccountMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns the user with this username, ignoring case. Errors: INVALID_REQUEST, USER_NOT_FOUND.
     * </pre>
     */
    public void getUserByUsername(dev.fanfare.read.v1.GetUserByUsernameRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.GetUserByUsernameResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetUserByUsernameMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns the users with these ids, in request order and each once. Ids that no user has are left
     * out.
     * Errors: INVALID_REQUEST.
     * </pre>
     */
    public void batchGetUsers(dev.fanfare.read.v1.BatchGetUsersRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.BatchGetUsersResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getBatchGetUsersMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns all users, sorted by id, lowest first. Errors: INVALID_REQUEST, INVALID_PAGE_TOKEN.
     * </pre>
     */
    public void listUsers(dev.fanfare.read.v1.ListUsersRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.ListUsersResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListUsersMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns one tweet. Errors: INVALID_REQUEST, TWEET_NOT_FOUND.
     * </pre>
     */
    public void getTweet(dev.fanfare.read.v1.GetTweetRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.GetTweetResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetTweetMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns the tweets with these ids, in request order and each once. Ids that no tweet has are left
     * out.
     * Errors: INVALID_REQUEST.
     * </pre>
     */
    public void batchGetTweets(dev.fanfare.read.v1.BatchGetTweetsRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.BatchGetTweetsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getBatchGetTweetsMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns when one user began to follow another.
     * Errors: INVALID_REQUEST, FOLLOW_NOT_FOUND.
     * </pre>
     */
    public void getFollow(dev.fanfare.read.v1.GetFollowRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.GetFollowResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetFollowMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns the home timeline of a user: the tweets of everybody whom the user follows now, newest
     * first, without the user's own. A change shows once its event has passed through Kafka and the
     * fan-out worker, or at once in a query with the consistency token of the command.
     * Errors: INVALID_REQUEST, INVALID_PAGE_TOKEN, USER_NOT_FOUND.
     * </pre>
     */
    public void getHomeTimeline(dev.fanfare.read.v1.GetHomeTimelineRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.GetHomeTimelineResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetHomeTimelineMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns the first page of up to 100 home timelines, in request order and each once. A timeline
     * that cannot be read carries its own error, and the others are not affected. Errors:
     * INVALID_REQUEST, also if the number of users times the limit is more than 2,000 tweets.
     * </pre>
     */
    public void batchGetHomeTimelines(dev.fanfare.read.v1.BatchGetHomeTimelinesRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.BatchGetHomeTimelinesResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getBatchGetHomeTimelinesMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns the tweets that a user wrote, newest first.
     * Errors: INVALID_REQUEST, INVALID_PAGE_TOKEN, USER_NOT_FOUND.
     * </pre>
     */
    public void listUserTweets(dev.fanfare.read.v1.ListUserTweetsRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.ListUserTweetsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListUserTweetsMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns the followers of a user, newest follow first.
     * Errors: INVALID_REQUEST, INVALID_PAGE_TOKEN, USER_NOT_FOUND.
     * </pre>
     */
    public void listFollowers(dev.fanfare.read.v1.ListFollowersRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.ListFollowersResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListFollowersMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns the users whom a user follows, newest follow first.
     * Errors: INVALID_REQUEST, INVALID_PAGE_TOKEN, USER_NOT_FOUND.
     * </pre>
     */
    public void listFollowing(dev.fanfare.read.v1.ListFollowingRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.ListFollowingResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getListFollowingMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Watches the first page of a home timeline: sends its tweets, oldest first, and then what changes,
     * until the client ends the call. A client holds tweets by id. It does what each event says and
     * shows the tweets by id, newest first; then it shows what GetHomeTimeline with the same limit
     * returns, a moment later. Events are differences of states, not a log: several changes at once
     * become the events that lead to the latest state, so a slow client misses nothing that is left.
     * Each event carries the resume token of the state after it. After a lost connection, a client that
     * passes its latest resume token gets only the difference. A resume token does not expire.
     * The stream ends with SHUTTING_DOWN and RetryInfo when the process is replaced, with
     * UNAUTHENTICATED when the access token expires or is ended, and with USER_NOT_FOUND when the user
     * is deleted. In the first two cases watch again, with the latest resume token.
     * Errors: INVALID_REQUEST, INVALID_RESUME_TOKEN, USER_NOT_FOUND, TOO_MANY_WATCHES.
     * </pre>
     */
    public void watchHomeTimeline(dev.fanfare.read.v1.WatchHomeTimelineRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.read.v1.WatchHomeTimelineResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncServerStreamingCall(
          getChannel().newCall(getWatchHomeTimelineMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * <pre>
   * ReadService answers queries, from Redis or from Postgres. It goes on while Redis or Kafka is
   * down.
   * A request can carry a consistency token. The query then shows the effect of the command that
   * returned the token, and of all commands before it. If no database that answers can do that yet,
   * the query fails with NOT_YET_CONSISTENT. If the command may have been lost, because the
   * database was restored, failed over or restarted since, it fails with CONSISTENCY_TOKEN_LOST. If no
   * command returned the token, it fails with INVALID_CONSISTENCY_TOKEN.
   * A query without a token may lag behind by some milliseconds.
   * Lists have pages. A page token continues exactly after the last item of the page before, even if
   * items were added or removed meanwhile, and it reaches the end of every list. An offset counts
   * items from the start, so it shifts as items are added, and it reaches 10,000 items deep. An empty
   * next_page_token says that there are no more items.
   * </pre>
   */
  public static final class ReadServiceBlockingStub extends io.grpc.stub.AbstractBlockingStub<ReadServiceBlockingStub> {
    private ReadServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ReadServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ReadServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Returns one user. Errors: INVALID_REQUEST, USER_NOT_FOUND.
     * </pre>
     */
    public dev.fanfare.read.v1.GetUserResponse getUser(dev.fanfare.read.v1.GetUserRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetUserMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns a user with what only the user themselves may see. This needs authentication, because
     * without it nobody is known to be the user.
     * Errors: INVALID_REQUEST, USER_NOT_FOUND, AUTHENTICATION_OFF.
     * </pre>
     */
    public dev.fanfare.read.v1.GetAccountResponse getAccount(dev.fanfare.read.v1.GetAccountRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetAccountMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the user with this username, ignoring case. Errors: INVALID_REQUEST, USER_NOT_FOUND.
     * </pre>
     */
    public dev.fanfare.read.v1.GetUserByUsernameResponse getUserByUsername(dev.fanfare.read.v1.GetUserByUsernameRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetUserByUsernameMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the users with these ids, in request order and each once. Ids that no user has are left
     * out.
     * Errors: INVALID_REQUEST.
     * </pre>
     */
    public dev.fanfare.read.v1.BatchGetUsersResponse batchGetUsers(dev.fanfare.read.v1.BatchGetUsersRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getBatchGetUsersMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns all users, sorted by id, lowest first. Errors: INVALID_REQUEST, INVALID_PAGE_TOKEN.
     * </pre>
     */
    public dev.fanfare.read.v1.ListUsersResponse listUsers(dev.fanfare.read.v1.ListUsersRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListUsersMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns one tweet. Errors: INVALID_REQUEST, TWEET_NOT_FOUND.
     * </pre>
     */
    public dev.fanfare.read.v1.GetTweetResponse getTweet(dev.fanfare.read.v1.GetTweetRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetTweetMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the tweets with these ids, in request order and each once. Ids that no tweet has are left
     * out.
     * Errors: INVALID_REQUEST.
     * </pre>
     */
    public dev.fanfare.read.v1.BatchGetTweetsResponse batchGetTweets(dev.fanfare.read.v1.BatchGetTweetsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getBatchGetTweetsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns when one user began to follow another.
     * Errors: INVALID_REQUEST, FOLLOW_NOT_FOUND.
     * </pre>
     */
    public dev.fanfare.read.v1.GetFollowResponse getFollow(dev.fanfare.read.v1.GetFollowRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetFollowMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the home timeline of a user: the tweets of everybody whom the user follows now, newest
     * first, without the user's own. A change shows once its event has passed through Kafka and the
     * fan-out worker, or at once in a query with the consistency token of the command.
     * Errors: INVALID_REQUEST, INVALID_PAGE_TOKEN, USER_NOT_FOUND.
     * </pre>
     */
    public dev.fanfare.read.v1.GetHomeTimelineResponse getHomeTimeline(dev.fanfare.read.v1.GetHomeTimelineRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetHomeTimelineMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the first page of up to 100 home timelines, in request order and each once. A timeline
     * that cannot be read carries its own error, and the others are not affected. Errors:
     * INVALID_REQUEST, also if the number of users times the limit is more than 2,000 tweets.
     * </pre>
     */
    public dev.fanfare.read.v1.BatchGetHomeTimelinesResponse batchGetHomeTimelines(dev.fanfare.read.v1.BatchGetHomeTimelinesRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getBatchGetHomeTimelinesMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the tweets that a user wrote, newest first.
     * Errors: INVALID_REQUEST, INVALID_PAGE_TOKEN, USER_NOT_FOUND.
     * </pre>
     */
    public dev.fanfare.read.v1.ListUserTweetsResponse listUserTweets(dev.fanfare.read.v1.ListUserTweetsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListUserTweetsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the followers of a user, newest follow first.
     * Errors: INVALID_REQUEST, INVALID_PAGE_TOKEN, USER_NOT_FOUND.
     * </pre>
     */
    public dev.fanfare.read.v1.ListFollowersResponse listFollowers(dev.fanfare.read.v1.ListFollowersRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListFollowersMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the users whom a user follows, newest follow first.
     * Errors: INVALID_REQUEST, INVALID_PAGE_TOKEN, USER_NOT_FOUND.
     * </pre>
     */
    public dev.fanfare.read.v1.ListFollowingResponse listFollowing(dev.fanfare.read.v1.ListFollowingRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getListFollowingMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Watches the first page of a home timeline: sends its tweets, oldest first, and then what changes,
     * until the client ends the call. A client holds tweets by id. It does what each event says and
     * shows the tweets by id, newest first; then it shows what GetHomeTimeline with the same limit
     * returns, a moment later. Events are differences of states, not a log: several changes at once
     * become the events that lead to the latest state, so a slow client misses nothing that is left.
     * Each event carries the resume token of the state after it. After a lost connection, a client that
     * passes its latest resume token gets only the difference. A resume token does not expire.
     * The stream ends with SHUTTING_DOWN and RetryInfo when the process is replaced, with
     * UNAUTHENTICATED when the access token expires or is ended, and with USER_NOT_FOUND when the user
     * is deleted. In the first two cases watch again, with the latest resume token.
     * Errors: INVALID_REQUEST, INVALID_RESUME_TOKEN, USER_NOT_FOUND, TOO_MANY_WATCHES.
     * </pre>
     */
    public java.util.Iterator<dev.fanfare.read.v1.WatchHomeTimelineResponse> watchHomeTimeline(
        dev.fanfare.read.v1.WatchHomeTimelineRequest request) {
      return io.grpc.stub.ClientCalls.blockingServerStreamingCall(
          getChannel(), getWatchHomeTimelineMethod(), getCallOptions(), request);
    }
  }

  /**
   * <pre>
   * ReadService answers queries, from Redis or from Postgres. It goes on while Redis or Kafka is
   * down.
   * A request can carry a consistency token. The query then shows the effect of the command that
   * returned the token, and of all commands before it. If no database that answers can do that yet,
   * the query fails with NOT_YET_CONSISTENT. If the command may have been lost, because the
   * database was restored, failed over or restarted since, it fails with CONSISTENCY_TOKEN_LOST. If no
   * command returned the token, it fails with INVALID_CONSISTENCY_TOKEN.
   * A query without a token may lag behind by some milliseconds.
   * Lists have pages. A page token continues exactly after the last item of the page before, even if
   * items were added or removed meanwhile, and it reaches the end of every list. An offset counts
   * items from the start, so it shifts as items are added, and it reaches 10,000 items deep. An empty
   * next_page_token says that there are no more items.
   * </pre>
   */
  public static final class ReadServiceFutureStub extends io.grpc.stub.AbstractFutureStub<ReadServiceFutureStub> {
    private ReadServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected ReadServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new ReadServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Returns one user. Errors: INVALID_REQUEST, USER_NOT_FOUND.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fanfare.read.v1.GetUserResponse> getUser(
        dev.fanfare.read.v1.GetUserRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetUserMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns a user with what only the user themselves may see. This needs authentication, because
     * without it nobody is known to be the user.
     * Errors: INVALID_REQUEST, USER_NOT_FOUND, AUTHENTICATION_OFF.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fanfare.read.v1.GetAccountResponse> getAccount(
        dev.fanfare.read.v1.GetAccountRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetAccountMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns the user with this username, ignoring case. Errors: INVALID_REQUEST, USER_NOT_FOUND.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fanfare.read.v1.GetUserByUsernameResponse> getUserByUsername(
        dev.fanfare.read.v1.GetUserByUsernameRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetUserByUsernameMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns the users with these ids, in request order and each once. Ids that no user has are left
     * out.
     * Errors: INVALID_REQUEST.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fanfare.read.v1.BatchGetUsersResponse> batchGetUsers(
        dev.fanfare.read.v1.BatchGetUsersRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getBatchGetUsersMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns all users, sorted by id, lowest first. Errors: INVALID_REQUEST, INVALID_PAGE_TOKEN.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fanfare.read.v1.ListUsersResponse> listUsers(
        dev.fanfare.read.v1.ListUsersRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListUsersMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns one tweet. Errors: INVALID_REQUEST, TWEET_NOT_FOUND.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fanfare.read.v1.GetTweetResponse> getTweet(
        dev.fanfare.read.v1.GetTweetRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetTweetMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns the tweets with these ids, in request order and each once. Ids that no tweet has are left
     * out.
     * Errors: INVALID_REQUEST.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fanfare.read.v1.BatchGetTweetsResponse> batchGetTweets(
        dev.fanfare.read.v1.BatchGetTweetsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getBatchGetTweetsMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns when one user began to follow another.
     * Errors: INVALID_REQUEST, FOLLOW_NOT_FOUND.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fanfare.read.v1.GetFollowResponse> getFollow(
        dev.fanfare.read.v1.GetFollowRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetFollowMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns the home timeline of a user: the tweets of everybody whom the user follows now, newest
     * first, without the user's own. A change shows once its event has passed through Kafka and the
     * fan-out worker, or at once in a query with the consistency token of the command.
     * Errors: INVALID_REQUEST, INVALID_PAGE_TOKEN, USER_NOT_FOUND.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fanfare.read.v1.GetHomeTimelineResponse> getHomeTimeline(
        dev.fanfare.read.v1.GetHomeTimelineRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetHomeTimelineMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns the first page of up to 100 home timelines, in request order and each once. A timeline
     * that cannot be read carries its own error, and the others are not affected. Errors:
     * INVALID_REQUEST, also if the number of users times the limit is more than 2,000 tweets.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fanfare.read.v1.BatchGetHomeTimelinesResponse> batchGetHomeTimelines(
        dev.fanfare.read.v1.BatchGetHomeTimelinesRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getBatchGetHomeTimelinesMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns the tweets that a user wrote, newest first.
     * Errors: INVALID_REQUEST, INVALID_PAGE_TOKEN, USER_NOT_FOUND.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fanfare.read.v1.ListUserTweetsResponse> listUserTweets(
        dev.fanfare.read.v1.ListUserTweetsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListUserTweetsMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns the followers of a user, newest follow first.
     * Errors: INVALID_REQUEST, INVALID_PAGE_TOKEN, USER_NOT_FOUND.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fanfare.read.v1.ListFollowersResponse> listFollowers(
        dev.fanfare.read.v1.ListFollowersRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListFollowersMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns the users whom a user follows, newest follow first.
     * Errors: INVALID_REQUEST, INVALID_PAGE_TOKEN, USER_NOT_FOUND.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fanfare.read.v1.ListFollowingResponse> listFollowing(
        dev.fanfare.read.v1.ListFollowingRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getListFollowingMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_GET_USER = 0;
  private static final int METHODID_GET_ACCOUNT = 1;
  private static final int METHODID_GET_USER_BY_USERNAME = 2;
  private static final int METHODID_BATCH_GET_USERS = 3;
  private static final int METHODID_LIST_USERS = 4;
  private static final int METHODID_GET_TWEET = 5;
  private static final int METHODID_BATCH_GET_TWEETS = 6;
  private static final int METHODID_GET_FOLLOW = 7;
  private static final int METHODID_GET_HOME_TIMELINE = 8;
  private static final int METHODID_BATCH_GET_HOME_TIMELINES = 9;
  private static final int METHODID_LIST_USER_TWEETS = 10;
  private static final int METHODID_LIST_FOLLOWERS = 11;
  private static final int METHODID_LIST_FOLLOWING = 12;
  private static final int METHODID_WATCH_HOME_TIMELINE = 13;

  private static final class MethodHandlers<Req, Resp> implements
      io.grpc.stub.ServerCalls.UnaryMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ServerStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ClientStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.BidiStreamingMethod<Req, Resp> {
    private final ReadServiceImplBase serviceImpl;
    private final int methodId;

    MethodHandlers(ReadServiceImplBase serviceImpl, int methodId) {
      this.serviceImpl = serviceImpl;
      this.methodId = methodId;
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public void invoke(Req request, io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        case METHODID_GET_USER:
          serviceImpl.getUser((dev.fanfare.read.v1.GetUserRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.read.v1.GetUserResponse>) responseObserver);
          break;
        case METHODID_GET_ACCOUNT:
          serviceImpl.getAccount((dev.fanfare.read.v1.GetAccountRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.read.v1.GetAccountResponse>) responseObserver);
          break;
        case METHODID_GET_USER_BY_USERNAME:
          serviceImpl.getUserByUsername((dev.fanfare.read.v1.GetUserByUsernameRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.read.v1.GetUserByUsernameResponse>) responseObserver);
          break;
        case METHODID_BATCH_GET_USERS:
          serviceImpl.batchGetUsers((dev.fanfare.read.v1.BatchGetUsersRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.read.v1.BatchGetUsersResponse>) responseObserver);
          break;
        case METHODID_LIST_USERS:
          serviceImpl.listUsers((dev.fanfare.read.v1.ListUsersRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.read.v1.ListUsersResponse>) responseObserver);
          break;
        case METHODID_GET_TWEET:
          serviceImpl.getTweet((dev.fanfare.read.v1.GetTweetRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.read.v1.GetTweetResponse>) responseObserver);
          break;
        case METHODID_BATCH_GET_TWEETS:
          serviceImpl.batchGetTweets((dev.fanfare.read.v1.BatchGetTweetsRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.read.v1.BatchGetTweetsResponse>) responseObserver);
          break;
        case METHODID_GET_FOLLOW:
          serviceImpl.getFollow((dev.fanfare.read.v1.GetFollowRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.read.v1.GetFollowResponse>) responseObserver);
          break;
        case METHODID_GET_HOME_TIMELINE:
          serviceImpl.getHomeTimeline((dev.fanfare.read.v1.GetHomeTimelineRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.read.v1.GetHomeTimelineResponse>) responseObserver);
          break;
        case METHODID_BATCH_GET_HOME_TIMELINES:
          serviceImpl.batchGetHomeTimelines((dev.fanfare.read.v1.BatchGetHomeTimelinesRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.read.v1.BatchGetHomeTimelinesResponse>) responseObserver);
          break;
        case METHODID_LIST_USER_TWEETS:
          serviceImpl.listUserTweets((dev.fanfare.read.v1.ListUserTweetsRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.read.v1.ListUserTweetsResponse>) responseObserver);
          break;
        case METHODID_LIST_FOLLOWERS:
          serviceImpl.listFollowers((dev.fanfare.read.v1.ListFollowersRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.read.v1.ListFollowersResponse>) responseObserver);
          break;
        case METHODID_LIST_FOLLOWING:
          serviceImpl.listFollowing((dev.fanfare.read.v1.ListFollowingRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.read.v1.ListFollowingResponse>) responseObserver);
          break;
        case METHODID_WATCH_HOME_TIMELINE:
          serviceImpl.watchHomeTimeline((dev.fanfare.read.v1.WatchHomeTimelineRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.read.v1.WatchHomeTimelineResponse>) responseObserver);
          break;
        default:
          throw new AssertionError();
      }
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public io.grpc.stub.StreamObserver<Req> invoke(
        io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        default:
          throw new AssertionError();
      }
    }
  }

  private static abstract class ReadServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    ReadServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.fanfare.read.v1.Read.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("ReadService");
    }
  }

  private static final class ReadServiceFileDescriptorSupplier
      extends ReadServiceBaseDescriptorSupplier {
    ReadServiceFileDescriptorSupplier() {}
  }

  private static final class ReadServiceMethodDescriptorSupplier
      extends ReadServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final String methodName;

    ReadServiceMethodDescriptorSupplier(String methodName) {
      this.methodName = methodName;
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.MethodDescriptor getMethodDescriptor() {
      return getServiceDescriptor().findMethodByName(methodName);
    }
  }

  private static volatile io.grpc.ServiceDescriptor serviceDescriptor;

  public static io.grpc.ServiceDescriptor getServiceDescriptor() {
    io.grpc.ServiceDescriptor result = serviceDescriptor;
    if (result == null) {
      synchronized (ReadServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new ReadServiceFileDescriptorSupplier())
              .addMethod(getGetUserMethod())
              .addMethod(getGetAccountMethod())
              .addMethod(getGetUserByUsernameMethod())
              .addMethod(getBatchGetUsersMethod())
              .addMethod(getListUsersMethod())
              .addMethod(getGetTweetMethod())
              .addMethod(getBatchGetTweetsMethod())
              .addMethod(getGetFollowMethod())
              .addMethod(getGetHomeTimelineMethod())
              .addMethod(getBatchGetHomeTimelinesMethod())
              .addMethod(getListUserTweetsMethod())
              .addMethod(getListFollowersMethod())
              .addMethod(getListFollowingMethod())
              .addMethod(getWatchHomeTimelineMethod())
              .build();
        }
      }
    }
    return result;
  }
}
