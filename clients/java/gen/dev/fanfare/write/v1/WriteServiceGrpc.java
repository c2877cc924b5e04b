package dev.fanfare.write.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * WriteService executes commands.
 * A command that was answered with OK is committed in Postgres, together with its event. Timelines
 * show its effect once the event has passed through Kafka and the fan-out worker. Every command
 * returns a consistency token; a query that takes it shows the command's effect at once.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class WriteServiceGrpc {

  private WriteServiceGrpc() {}

  public static final String SERVICE_NAME = "fanfare.write.v1.WriteService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.fanfare.write.v1.CreateUserRequest,
      dev.fanfare.write.v1.CreateUserResponse> getCreateUserMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "CreateUser",
      requestType = dev.fanfare.write.v1.CreateUserRequest.class,
      responseType = dev.fanfare.write.v1.CreateUserResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fanfare.write.v1.CreateUserRequest,
      dev.fanfare.write.v1.CreateUserResponse> getCreateUserMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.write.v1.CreateUserRequest, dev.fanfare.write.v1.CreateUserResponse> getCreateUserMethod;
    if ((getCreateUserMethod = WriteServiceGrpc.getCreateUserMethod) == null) {
      synchronized (WriteServiceGrpc.class) {
        if ((getCreateUserMethod = WriteServiceGrpc.getCreateUserMethod) == null) {
          WriteServiceGrpc.getCreateUserMethod = getCreateUserMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.write.v1.CreateUserRequest, dev.fanfare.write.v1.CreateUserResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "CreateUser"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.write.v1.CreateUserRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.write.v1.CreateUserResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WriteServiceMethodDescriptorSupplier("CreateUser"))
              .build();
        }
      }
    }
    return getCreateUserMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fanfare.write.v1.UpdateUserRequest,
      dev.fanfare.write.v1.UpdateUserResponse> getUpdateUserMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "UpdateUser",
      requestType = dev.fanfare.write.v1.UpdateUserRequest.class,
      responseType = dev.fanfare.write.v1.UpdateUserResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fanfare.write.v1.UpdateUserRequest,
      dev.fanfare.write.v1.UpdateUserResponse> getUpdateUserMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.write.v1.UpdateUserRequest, dev.fanfare.write.v1.UpdateUserResponse> getUpdateUserMethod;
    if ((getUpdateUserMethod = WriteServiceGrpc.getUpdateUserMethod) == null) {
      synchronized (WriteServiceGrpc.class) {
        if ((getUpdateUserMethod = WriteServiceGrpc.getUpdateUserMethod) == null) {
          WriteServiceGrpc.getUpdateUserMethod = getUpdateUserMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.write.v1.UpdateUserRequest, dev.fanfare.write.v1.UpdateUserResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "UpdateUser"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.write.v1.UpdateUserRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.write.v1.UpdateUserResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WriteServiceMethodDescriptorSupplier("UpdateUser"))
              .build();
        }
      }
    }
    return getUpdateUserMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fanfare.write.v1.DeleteUserRequest,
      dev.fanfare.write.v1.DeleteUserResponse> getDeleteUserMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "DeleteUser",
      requestType = dev.fanfare.write.v1.DeleteUserRequest.class,
      responseType = dev.fanfare.write.v1.DeleteUserResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fanfare.write.v1.DeleteUserRequest,
      dev.fanfare.write.v1.DeleteUserResponse> getDeleteUserMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.write.v1.DeleteUserRequest, dev.fanfare.write.v1.DeleteUserResponse> getDeleteUserMethod;
    if ((getDeleteUserMethod = WriteServiceGrpc.getDeleteUserMethod) == null) {
      synchronized (WriteServiceGrpc.class) {
        if ((getDeleteUserMethod = WriteServiceGrpc.getDeleteUserMethod) == null) {
          WriteServiceGrpc.getDeleteUserMethod = getDeleteUserMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.write.v1.DeleteUserRequest, dev.fanfare.write.v1.DeleteUserResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "DeleteUser"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.write.v1.DeleteUserRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.write.v1.DeleteUserResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WriteServiceMethodDescriptorSupplier("DeleteUser"))
              .build();
        }
      }
    }
    return getDeleteUserMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fanfare.write.v1.CreateTweetRequest,
      dev.fanfare.write.v1.CreateTweetResponse> getCreateTweetMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "CreateTweet",
      requestType = dev.fanfare.write.v1.CreateTweetRequest.class,
      responseType = dev.fanfare.write.v1.CreateTweetResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fanfare.write.v1.CreateTweetRequest,
      dev.fanfare.write.v1.CreateTweetResponse> getCreateTweetMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.write.v1.CreateTweetRequest, dev.fanfare.write.v1.CreateTweetResponse> getCreateTweetMethod;
    if ((getCreateTweetMethod = WriteServiceGrpc.getCreateTweetMethod) == null) {
      synchronized (WriteServiceGrpc.class) {
        if ((getCreateTweetMethod = WriteServiceGrpc.getCreateTweetMethod) == null) {
          WriteServiceGrpc.getCreateTweetMethod = getCreateTweetMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.write.v1.CreateTweetRequest, dev.fanfare.write.v1.CreateTweetResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "CreateTweet"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.write.v1.CreateTweetRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.write.v1.CreateTweetResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WriteServiceMethodDescriptorSupplier("CreateTweet"))
              .build();
        }
      }
    }
    return getCreateTweetMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fanfare.write.v1.BatchCreateTweetsRequest,
      dev.fanfare.write.v1.BatchCreateTweetsResponse> getBatchCreateTweetsMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "BatchCreateTweets",
      requestType = dev.fanfare.write.v1.BatchCreateTweetsRequest.class,
      responseType = dev.fanfare.write.v1.BatchCreateTweetsResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fanfare.write.v1.BatchCreateTweetsRequest,
      dev.fanfare.write.v1.BatchCreateTweetsResponse> getBatchCreateTweetsMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.write.v1.BatchCreateTweetsRequest, dev.fanfare.write.v1.BatchCreateTweetsResponse> getBatchCreateTweetsMethod;
    if ((getBatchCreateTweetsMethod = WriteServiceGrpc.getBatchCreateTweetsMethod) == null) {
      synchronized (WriteServiceGrpc.class) {
        if ((getBatchCreateTweetsMethod = WriteServiceGrpc.getBatchCreateTweetsMethod) == null) {
          WriteServiceGrpc.getBatchCreateTweetsMethod = getBatchCreateTweetsMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.write.v1.BatchCreateTweetsRequest, dev.fanfare.write.v1.BatchCreateTweetsResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "BatchCreateTweets"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.write.v1.BatchCreateTweetsRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.write.v1.BatchCreateTweetsResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WriteServiceMethodDescriptorSupplier("BatchCreateTweets"))
              .build();
        }
      }
    }
    return getBatchCreateTweetsMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fanfare.write.v1.UpdateTweetRequest,
      dev.fanfare.write.v1.UpdateTweetResponse> getUpdateTweetMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "UpdateTweet",
      requestType = dev.fanfare.write.v1.UpdateTweetRequest.class,
      responseType = dev.fanfare.write.v1.UpdateTweetResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fanfare.write.v1.UpdateTweetRequest,
      dev.fanfare.write.v1.UpdateTweetResponse> getUpdateTweetMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.write.v1.UpdateTweetRequest, dev.fanfare.write.v1.UpdateTweetResponse> getUpdateTweetMethod;
    if ((getUpdateTweetMethod = WriteServiceGrpc.getUpdateTweetMethod) == null) {
      synchronized (WriteServiceGrpc.class) {
        if ((getUpdateTweetMethod = WriteServiceGrpc.getUpdateTweetMethod) == null) {
          WriteServiceGrpc.getUpdateTweetMethod = getUpdateTweetMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.write.v1.UpdateTweetRequest, dev.fanfare.write.v1.UpdateTweetResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "UpdateTweet"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.write.v1.UpdateTweetRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.write.v1.UpdateTweetResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WriteServiceMethodDescriptorSupplier("UpdateTweet"))
              .build();
        }
      }
    }
    return getUpdateTweetMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fanfare.write.v1.DeleteTweetRequest,
      dev.fanfare.write.v1.DeleteTweetResponse> getDeleteTweetMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "DeleteTweet",
      requestType = dev.fanfare.write.v1.DeleteTweetRequest.class,
      responseType = dev.fanfare.write.v1.DeleteTweetResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fanfare.write.v1.DeleteTweetRequest,
      dev.fanfare.write.v1.DeleteTweetResponse> getDeleteTweetMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.write.v1.DeleteTweetRequest, dev.fanfare.write.v1.DeleteTweetResponse> getDeleteTweetMethod;
    if ((getDeleteTweetMethod = WriteServiceGrpc.getDeleteTweetMethod) == null) {
      synchronized (WriteServiceGrpc.class) {
        if ((getDeleteTweetMethod = WriteServiceGrpc.getDeleteTweetMethod) == null) {
          WriteServiceGrpc.getDeleteTweetMethod = getDeleteTweetMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.write.v1.DeleteTweetRequest, dev.fanfare.write.v1.DeleteTweetResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "DeleteTweet"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.write.v1.DeleteTweetRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.write.v1.DeleteTweetResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WriteServiceMethodDescriptorSupplier("DeleteTweet"))
              .build();
        }
      }
    }
    return getDeleteTweetMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fanfare.write.v1.FollowUserRequest,
      dev.fanfare.write.v1.FollowUserResponse> getFollowUserMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "FollowUser",
      requestType = dev.fanfare.write.v1.FollowUserRequest.class,
      responseType = dev.fanfare.write.v1.FollowUserResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fanfare.write.v1.FollowUserRequest,
      dev.fanfare.write.v1.FollowUserResponse> getFollowUserMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.write.v1.FollowUserRequest, dev.fanfare.write.v1.FollowUserResponse> getFollowUserMethod;
    if ((getFollowUserMethod = WriteServiceGrpc.getFollowUserMethod) == null) {
      synchronized (WriteServiceGrpc.class) {
        if ((getFollowUserMethod = WriteServiceGrpc.getFollowUserMethod) == null) {
          WriteServiceGrpc.getFollowUserMethod = getFollowUserMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.write.v1.FollowUserRequest, dev.fanfare.write.v1.FollowUserResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "FollowUser"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.write.v1.FollowUserRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.write.v1.FollowUserResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WriteServiceMethodDescriptorSupplier("FollowUser"))
              .build();
        }
      }
    }
    return getFollowUserMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fanfare.write.v1.UnfollowUserRequest,
      dev.fanfare.write.v1.UnfollowUserResponse> getUnfollowUserMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "UnfollowUser",
      requestType = dev.fanfare.write.v1.UnfollowUserRequest.class,
      responseType = dev.fanfare.write.v1.UnfollowUserResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fanfare.write.v1.UnfollowUserRequest,
      dev.fanfare.write.v1.UnfollowUserResponse> getUnfollowUserMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.write.v1.UnfollowUserRequest, dev.fanfare.write.v1.UnfollowUserResponse> getUnfollowUserMethod;
    if ((getUnfollowUserMethod = WriteServiceGrpc.getUnfollowUserMethod) == null) {
      synchronized (WriteServiceGrpc.class) {
        if ((getUnfollowUserMethod = WriteServiceGrpc.getUnfollowUserMethod) == null) {
          WriteServiceGrpc.getUnfollowUserMethod = getUnfollowUserMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.write.v1.UnfollowUserRequest, dev.fanfare.write.v1.UnfollowUserResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "UnfollowUser"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.write.v1.UnfollowUserRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.write.v1.UnfollowUserResponse.getDefaultInstance()))
              .setSchemaDescriptor(new WriteServiceMethodDescriptorSupplier("UnfollowUser"))
              .build();
        }
      }
    }
    return getUnfollowUserMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static WriteServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<WriteServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<WriteServiceStub>() {
        @java.lang.Override
        public WriteServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new WriteServiceStub(channel, callOptions);
        }
      };
    return WriteServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static WriteServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<WriteServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<WriteServiceBlockingStub>() {
        @java.lang.Override
        public WriteServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new WriteServiceBlockingStub(channel, callOptions);
        }
      };
    return WriteServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static WriteServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<WriteServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<WriteServiceFutureStub>() {
        @java.lang.Override
        public WriteServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new WriteServiceFutureStub(channel, callOptions);
        }
      };
    return WriteServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * WriteService executes commands.
   * A command that was answered with OK is committed in Postgres, together with its event. Timelines
   * show its effect once the event has passed through Kafka and the fan-out worker. Every command
   * returns a consistency token; a query that takes it shows the command's effect at once.
   * </pre>
   */
  public static abstract class WriteServiceImplBase implements io.grpc.BindableService {

    /**
     * <pre>
     * Creates a user. The username and the e-mail address must be unique, ignoring case. Some names,
     * such as `admin`, are reserved, and a name that a rename or a deletion has freed cannot be taken
     * for 30 days. Errors: INVALID_REQUEST, USERNAME_TAKEN, EMAIL_TAKEN, OVERLOADED.
     * </pre>
     */
    public void createUser(dev.fanfare.write.v1.CreateUserRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.write.v1.CreateUserResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getCreateUserMethod(), responseObserver);
    }

    /**
     * <pre>
     * Changes the fields of a user that are set in the request. At least one must be set.
     * Where authentication is on, a change of the password or the e-mail address needs a sign-in of the
     * last five minutes, or current_password. It ends all access tokens of the user, and a new password
     * ends the sessions too. After a rename, nobody else can take the former name for 30 days.
     * Errors: INVALID_REQUEST, USER_NOT_FOUND, USERNAME_TAKEN, EMAIL_TAKEN, REAUTHENTICATION_REQUIRED,
     * USER_BUSY, OVERLOADED.
     * </pre>
     */
    public void updateUser(dev.fanfare.write.v1.UpdateUserRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.write.v1.UpdateUserResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getUpdateUserMethod(), responseObserver);
    }

    /**
     * <pre>
     * Deletes a user, their tweets, and their follows in both directions. When this returns, the user
     * does not exist any more for any method: queries and commands answer USER_NOT_FOUND, the tweets
     * cannot be changed, and neither lists nor batches of users contain the user. Up to 5,000 of the
     * user's newest tweets and followers are erased in the same transaction. The service erases what
     * is left in the background, newest tweets first; until then, those tweets stay in the timelines
     * of their readers, and the username stays taken. Errors: INVALID_REQUEST, USER_NOT_FOUND,
     * USER_BUSY.
     * </pre>
     */
    public void deleteUser(dev.fanfare.write.v1.DeleteUserRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.write.v1.DeleteUserResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getDeleteUserMethod(), responseObserver);
    }

    /**
     * <pre>
     * Creates a tweet. A request with a request_id can be retried safely: the same request_id with
     * the same content returns the first answer, even if the first call has not finished yet.
     * Errors: INVALID_REQUEST, USER_NOT_FOUND, REQUEST_ID_REUSED, USER_BUSY.
     * </pre>
     */
    public void createTweet(dev.fanfare.write.v1.CreateTweetRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.write.v1.CreateTweetResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getCreateTweetMethod(), responseObserver);
    }

    /**
     * <pre>
     * Creates up to 1,000 tweets, with ids that grow in request order. An item that fails has an
     * error in its result and does not affect the others, and the call itself is still OK.
     * Errors: INVALID_REQUEST, for the batch as a whole.
     * </pre>
     */
    public void batchCreateTweets(dev.fanfare.write.v1.BatchCreateTweetsRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.write.v1.BatchCreateTweetsResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getBatchCreateTweetsMethod(), responseObserver);
    }

    /**
     * <pre>
     * Replaces the content of a tweet. Its id, author and created_at do not change.
     * Errors: INVALID_REQUEST, TWEET_NOT_FOUND.
     * </pre>
     */
    public void updateTweet(dev.fanfare.write.v1.UpdateTweetRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.write.v1.UpdateTweetResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getUpdateTweetMethod(), responseObserver);
    }

    /**
     * <pre>
     * Deletes a tweet, which disappears from every timeline. Errors: INVALID_REQUEST,
     * TWEET_NOT_FOUND.
     * </pre>
     */
    public void deleteTweet(dev.fanfare.write.v1.DeleteTweetRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.write.v1.DeleteTweetResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getDeleteTweetMethod(), responseObserver);
    }

    /**
     * <pre>
     * Makes one user follow another. All tweets of the followed user, also earlier ones, appear in
     * the follower's home timeline. Following somebody again is OK and changes nothing.
     * Errors: INVALID_REQUEST (users cannot follow themselves), USER_NOT_FOUND,
     * FOLLOWING_LIMIT_REACHED, USER_BUSY.
     * </pre>
     */
    public void followUser(dev.fanfare.write.v1.FollowUserRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.write.v1.FollowUserResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getFollowUserMethod(), responseObserver);
    }

    /**
     * <pre>
     * Ends a follow. The tweets of the user who was followed disappear from the follower's home
     * timeline. Unfollowing somebody again is OK and changes nothing.
     * Errors: INVALID_REQUEST, USER_NOT_FOUND, USER_BUSY.
     * </pre>
     */
    public void unfollowUser(dev.fanfare.write.v1.UnfollowUserRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.write.v1.UnfollowUserResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getUnfollowUserMethod(), responseObserver);
    }

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return io.grpc.ServerServiceDefinition.builder(getServiceDescriptor())
          .addMethod(
            getCreateUserMethod(),
            io.grpc.stub.ServerCalls.asyncUnaryCall(
              new MethodHandlers<
                dev.fanfare.write.v1.CreateUserRequest,
                dev.fanfare.write.v1.CreateUserResponse>(
                  this, METHODID_CREATE_USER)))
          .addMethod(
            getUpdateUserMethod(),
            io.grpc.stub.ServerCalls.asyncUnaryCall(
              new MethodHandlers<
                dev.fanfare.write.v1.UpdateUserRequest,
                dev.fanfare.write.v1.UpdateUserResponse>(
                  this, METHODID_UPDATE_USER)))
          .addMethod(
            getDeleteUserMethod(),
            io.grpc.stub.ServerCalls.asyncUnaryCall(
              new MethodHandlers<
                dev.fanfare.write.v1.DeleteUserRequest,
                dev.fanfare.write.v1.DeleteUserResponse>(
                  this, METHODID_DELETE_USER)))
          .addMethod(
            getCreateTweetMethod(),
            io.grpc.stub.ServerCalls.asyncUnaryCall(
              new MethodHandlers<
                dev.fanfare.write.v1.CreateTweetRequest,
                dev.fanfare.write.v1.CreateTweetResponse>(
                  this, METHODID_CREATE_TWEET)))
          .addMethod(
            getBatchCreateTweetsMethod(),
            io.grpc.stub.ServerCalls.asyncUnaryCall(
              new MethodHandlers<
                dev.fanfare.write.v1.BatchCreateTweetsRequest,
                dev.fanfare.write.v1.BatchCreateTweetsResponse>(
                  this, METHODID_BATCH_CREATE_TWEETS)))
          .addMethod(
            getUpdateTweetMethod(),
            io.grpc.stub.ServerCalls.asyncUnaryCall(
              new MethodHandlers<
                dev.fanfare.write.v1.UpdateTweetRequest,
                dev.fanfare.write.v1.UpdateTweetResponse>(
                  this, METHODID_UPDATE_TWEET)))
          .addMethod(
            getDeleteTweetMethod(),
            io.grpc.stub.ServerCalls.asyncUnaryCall(
              new MethodHandlers<
                dev.fanfare.write.v1.DeleteTweetRequest,
                dev.fanfare.write.v1.DeleteTweetResponse>(
                  this, METHODID_DELETE_TWEET)))
          .addMethod(
            getFollowUserMethod(),
            io.grpc.stub.ServerCalls.asyncUnaryCall(
              new MethodHandlers<
                dev.fanfare.write.v1.FollowUserRequest,
                dev.fanfare.write.v1.FollowUserResponse>(
                  this, METHODID_FOLLOW_USER)))
          .addMethod(
            getUnfollowUserMethod(),
            io.grpc.stub.ServerCalls.asyncUnaryCall(
              new MethodHandlers<
                dev.fanfare.write.v1.UnfollowUserRequest,
                dev.fanfare.write.v1.UnfollowUserResponse>(
                  this, METHODID_UNFOLLOW_USER)))
          .build();
    }
  }

  /**
   * <pre>
   * WriteService executes commands.
   * A command that was answered with OK is committed in Postgres, together with its event. Timelines
   * show its effect once the event has passed through Kafka and the fan-out worker. Every command
   * returns a consistency token; a query that takes it shows the command's effect at once.
   * </pre>
   */
  public static final class WriteServiceStub extends io.grpc.stub.AbstractAsyncStub<WriteServiceStub> {
    private WriteServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected WriteServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new WriteServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Creates a user. The username and the e-mail address must be unique, ignoring case. Some names,
     * such as `admin`, are reserved, and a name that a rename or a deletion has freed cannot be taken
     * for 30 days. Errors: INVALID_REQUEST, USERNAME_TAKEN, EMAIL_TAKEN, OVERLOADED.
     * </pre>
     */
    public void createUser(dev.fanfare.write.v1.CreateUserRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.write.v1.CreateUserResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getCreateUserMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Changes the fields of a user that are set in the request. At least one must be set.
     * Where authentication is on, a change of the password or the e-mail address needs a sign-in of the
     * last five minutes, or current_password. It ends all access tokens of the user, and a new password
     * ends the sessions too. After a rename, nobody else can take the former name for 30 days.
     * Errors: INVALID_REQUEST, USER_NOT_FOUND, USERNAME_TAKEN, EMAIL_TAKEN, REAUTHENTICATION_REQUIRED,
     * USER_BUSY, OVERLOADED.
     * </pre>
     */
    public void updateUser(dev.fanfare.write.v1.UpdateUserRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.write.v1.UpdateUserResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getUpdateUserMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Deletes a user, their tweets, and their follows in both directions. When this returns, the user
     * does not exist any more for any method: queries and commands answer USER_NOT_FOUND, the tweets
     * cannot be changed, and neither lists nor batches of users contain the user. Up to 5,000 of the
     * user's newest tweets and followers are erased in the same transaction. The service erases what
     * is left in the background, newest tweets first; until then, those tweets stay in the timelines
     * of their readers, and the username stays taken. Errors: INVALID_REQUEST, USER_NOT_FOUND,
     * USER_BUSY.
     * </pre>
     */
    public void deleteUser(dev.fanfare.write.v1.DeleteUserRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.write.v1.DeleteUserResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getDeleteUserMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Creates a tweet. A request with a request_id can be retried safely: the same request_id with
     * the same content returns the first answer, even if the first call has not finished yet.
     * Errors: INVALID_REQUEST, USER_NOT_FOUND, REQUEST_ID_REUSED, USER_BUSY.
     * </pre>
     */
    public void createTweet(dev.fanfare.write.v1.CreateTweetRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.write.v1.CreateTweetResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getCreateTweetMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Creates up to 1,000 tweets, with ids that grow in request order. An item that fails has an
     * error in its result and does not affect the others, and the call itself is still OK.
     * Errors: INVALID_REQUEST, for the batch as a whole.
     * </pre>
     */
    public void batchCreateTweets(dev.fanfare.write.v1.BatchCreateTweetsRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.write.v1.BatchCreateTweetsResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getBatchCreateTweetsMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Replaces the content of a tweet. Its id, author and created_at do not change.
     * Errors: INVALID_REQUEST, TWEET_NOT_FOUND.
     * </pre>
     */
    public void updateTweet(dev.fanfare.write.v1.UpdateTweetRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.write.v1.UpdateTweetResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getUpdateTweetMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Deletes a tweet, which disappears from every timeline. Errors: INVALID_REQUEST,
     * TWEET_NOT_FOUND.
     * </pre>
     */
    public void deleteTweet(dev.fanfare.write.v1.DeleteTweetRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.write.v1.DeleteTweetResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getDeleteTweetMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Makes one user follow another. All tweets of the followed user, also earlier ones, appear in
     * the follower's home timeline. Following somebody again is OK and changes nothing.
     * Errors: INVALID_REQUEST (users cannot follow themselves), USER_NOT_FOUND,
     * FOLLOWING_LIMIT_REACHED, USER_BUSY.
     * </pre>
     */
    public void followUser(dev.fanfare.write.v1.FollowUserRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.write.v1.FollowUserResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getFollowUserMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Ends a follow. The tweets of the user who was followed disappear from the follower's home
     * timeline. Unfollowing somebody again is OK and changes nothing.
     * Errors: INVALID_REQUEST, USER_NOT_FOUND, USER_BUSY.
     * </pre>
     */
    public void unfollowUser(dev.fanfare.write.v1.UnfollowUserRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.write.v1.UnfollowUserResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getUnfollowUserMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * <pre>
   * WriteService executes commands.
   * A command that was answered with OK is committed in Postgres, together with its event. Timelines
   * show its effect once the event has passed through Kafka and the fan-out worker. Every command
   * returns a consistency token; a query that takes it shows the command's effect at once.
   * </pre>
   */
  public static final class WriteServiceBlockingStub extends io.grpc.stub.AbstractBlockingStub<WriteServiceBlockingStub> {
    private WriteServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected WriteServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new WriteServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Creates a user. The username and the e-mail address must be unique, ignoring case. Some names,
     * such as `admin`, are reserved, and a name that a rename or a deletion has freed cannot be taken
     * for 30 days. Errors: INVALID_REQUEST, USERNAME_TAKEN, EMAIL_TAKEN, OVERLOADED.
     * </pre>
     */
    public dev.fanfare.write.v1.CreateUserResponse createUser(dev.fanfare.write.v1.CreateUserRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getCreateUserMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Changes the fields of a user that are set in the request. At least one must be set.
     * Where authentication is on, a change of the password or the e-mail address needs a sign-in of the
     * last five minutes, or current_password. It ends all access tokens of the user, and a new password
     * ends the sessions too. After a rename, nobody else can take the former name for 30 days.
     * Errors: INVALID_REQUEST, USER_NOT_FOUND, USERNAME_TAKEN, EMAIL_TAKEN, REAUTHENTICATION_REQUIRED,
     * USER_BUSY, OVERLOADED.
     * </pre>
     */
    public dev.fanfare.write.v1.UpdateUserResponse updateUser(dev.fanfare.write.v1.UpdateUserRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getUpdateUserMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Deletes a user, their tweets, and their follows in both directions. When this returns, the user
     * does not exist any more for any method: queries and commands answer USER_NOT_FOUND, the tweets
     * cannot be changed, and neither lists nor batches of users contain the user. Up to 5,000 of the
     * user's newest tweets and followers are erased in the same transaction. The service erases what
     * is left in the background, newest tweets first; until then, those tweets stay in the timelines
     * of their readers, and the username stays taken. Errors: INVALID_REQUEST, USER_NOT_FOUND,
     * USER_BUSY.
     * </pre>
     */
    public dev.fanfare.write.v1.DeleteUserResponse deleteUser(dev.fanfare.write.v1.DeleteUserRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getDeleteUserMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Creates a tweet. A request with a request_id can be retried safely: the same request_id with
     * the same content returns the first answer, even if the first call has not finished yet.
     * Errors: INVALID_REQUEST, USER_NOT_FOUND, REQUEST_ID_REUSED, USER_BUSY.
     * </pre>
     */
    public dev.fanfare.write.v1.CreateTweetResponse createTweet(dev.fanfare.write.v1.CreateTweetRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getCreateTweetMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Creates up to 1,000 tweets, with ids that grow in request order. An item that fails has an
     * error in its result and does not affect the others, and the call itself is still OK.
     * Errors: INVALID_REQUEST, for the batch as a whole.
     * </pre>
     */
    public dev.fanfare.write.v1.BatchCreateTweetsResponse batchCreateTweets(dev.fanfare.write.v1.BatchCreateTweetsRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getBatchCreateTweetsMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Replaces the content of a tweet. Its id, author and created_at do not change.
     * Errors: INVALID_REQUEST, TWEET_NOT_FOUND.
     * </pre>
     */
    public dev.fanfare.write.v1.UpdateTweetResponse updateTweet(dev.fanfare.write.v1.UpdateTweetRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getUpdateTweetMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Deletes a tweet, which disappears from every timeline. Errors: INVALID_REQUEST,
     * TWEET_NOT_FOUND.
     * </pre>
     */
    public dev.fanfare.write.v1.DeleteTweetResponse deleteTweet(dev.fanfare.write.v1.DeleteTweetRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getDeleteTweetMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Makes one user follow another. All tweets of the followed user, also earlier ones, appear in
     * the follower's home timeline. Following somebody again is OK and changes nothing.
     * Errors: INVALID_REQUEST (users cannot follow themselves), USER_NOT_FOUND,
     * FOLLOWING_LIMIT_REACHED, USER_BUSY.
     * </pre>
     */
    public dev.fanfare.write.v1.FollowUserResponse followUser(dev.fanfare.write.v1.FollowUserRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getFollowUserMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Ends a follow. The tweets of the user who was followed disappear from the follower's home
     * timeline. Unfollowing somebody again is OK and changes nothing.
     * Errors: INVALID_REQUEST, USER_NOT_FOUND, USER_BUSY.
     * </pre>
     */
    public dev.fanfare.write.v1.UnfollowUserResponse unfollowUser(dev.fanfare.write.v1.UnfollowUserRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getUnfollowUserMethod(), getCallOptions(), request);
    }
  }

  /**
   * <pre>
   * WriteService executes commands.
   * A command that was answered with OK is committed in Postgres, together with its event. Timelines
   * show its effect once the event has passed through Kafka and the fan-out worker. Every command
   * returns a consistency token; a query that takes it shows the command's effect at once.
   * </pre>
   */
  public static final class WriteServiceFutureStub extends io.grpc.stub.AbstractFutureStub<WriteServiceFutureStub> {
    private WriteServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected WriteServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new WriteServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Creates a user. The username and the e-mail address must be unique, ignoring case. Some names,
     * such as `admin`, are reserved, and a name that a rename or a deletion has freed cannot be taken
     * for 30 days. Errors: INVALID_REQUEST, USERNAME_TAKEN, EMAIL_TAKEN, OVERLOADED.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fanfare.write.v1.CreateUserResponse> createUser(
        dev.fanfare.write.v1.CreateUserRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getCreateUserMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Changes the fields of a user that are set in the request. At least one must be set.
     * Where authentication is on, a change of the password or the e-mail address needs a sign-in of the
     * last five minutes, or current_password. It ends all access tokens of the user, and a new password
     * ends the sessions too. After a rename, nobody else can take the former name for 30 days.
     * Errors: INVALID_REQUEST, USER_NOT_FOUND, USERNAME_TAKEN, EMAIL_TAKEN, REAUTHENTICATION_REQUIRED,
     * USER_BUSY, OVERLOADED.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fanfare.write.v1.UpdateUserResponse> updateUser(
        dev.fanfare.write.v1.UpdateUserRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getUpdateUserMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Deletes a user, their tweets, and their follows in both directions. When this returns, the user
     * does not exist any more for any method: queries and commands answer USER_NOT_FOUND, the tweets
     * cannot be changed, and neither lists nor batches of users contain the user. Up to 5,000 of the
     * user's newest tweets and followers are erased in the same transaction. The service erases what
     * is left in the background, newest tweets first; until then, those tweets stay in the timelines
     * of their readers, and the username stays taken. Errors: INVALID_REQUEST, USER_NOT_FOUND,
     * USER_BUSY.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fanfare.write.v1.DeleteUserResponse> deleteUser(
        dev.fanfare.write.v1.DeleteUserRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getDeleteUserMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Creates a tweet. A request with a request_id can be retried safely: the same request_id with
     * the same content returns the first answer, even if the first call has not finished yet.
     * Errors: INVALID_REQUEST, USER_NOT_FOUND, REQUEST_ID_REUSED, USER_BUSY.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fanfare.write.v1.CreateTweetResponse> createTweet(
        dev.fanfare.write.v1.CreateTweetRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getCreateTweetMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Creates up to 1,000 tweets, with ids that grow in request order. An item that fails has an
     * error in its result and does not affect the others, and the call itself is still OK.
     * Errors: INVALID_REQUEST, for the batch as a whole.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fanfare.write.v1.BatchCreateTweetsResponse> batchCreateTweets(
        dev.fanfare.write.v1.BatchCreateTweetsRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getBatchCreateTweetsMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Replaces the content of a tweet. Its id, author and created_at do not change.
     * Errors: INVALID_REQUEST, TWEET_NOT_FOUND.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fanfare.write.v1.UpdateTweetResponse> updateTweet(
        dev.fanfare.write.v1.UpdateTweetRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getUpdateTweetMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Deletes a tweet, which disappears from every timeline. Errors: INVALID_REQUEST,
     * TWEET_NOT_FOUND.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fanfare.write.v1.DeleteTweetResponse> deleteTweet(
        dev.fanfare.write.v1.DeleteTweetRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getDeleteTweetMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Makes one user follow another. All tweets of the followed user, also earlier ones, appear in
     * the follower's home timeline. Following somebody again is OK and changes nothing.
     * Errors: INVALID_REQUEST (users cannot follow themselves), USER_NOT_FOUND,
     * FOLLOWING_LIMIT_REACHED, USER_BUSY.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fanfare.write.v1.FollowUserResponse> followUser(
        dev.fanfare.write.v1.FollowUserRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getFollowUserMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Ends a follow. The tweets of the user who was followed disappear from the follower's home
     * timeline. Unfollowing somebody again is OK and changes nothing.
     * Errors: INVALID_REQUEST, USER_NOT_FOUND, USER_BUSY.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fanfare.write.v1.UnfollowUserResponse> unfollowUser(
        dev.fanfare.write.v1.UnfollowUserRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getUnfollowUserMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_CREATE_USER = 0;
  private static final int METHODID_UPDATE_USER = 1;
  private static final int METHODID_DELETE_USER = 2;
  private static final int METHODID_CREATE_TWEET = 3;
  private static final int METHODID_BATCH_CREATE_TWEETS = 4;
  private static final int METHODID_UPDATE_TWEET = 5;
  private static final int METHODID_DELETE_TWEET = 6;
  private static final int METHODID_FOLLOW_USER = 7;
  private static final int METHODID_UNFOLLOW_USER = 8;

  private static final class MethodHandlers<Req, Resp> implements
      io.grpc.stub.ServerCalls.UnaryMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ServerStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ClientStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.BidiStreamingMethod<Req, Resp> {
    private final WriteServiceImplBase serviceImpl;
    private final int methodId;

    MethodHandlers(WriteServiceImplBase serviceImpl, int methodId) {
      this.serviceImpl = serviceImpl;
      this.methodId = methodId;
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public void invoke(Req request, io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        case METHODID_CREATE_USER:
          serviceImpl.createUser((dev.fanfare.write.v1.CreateUserRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.write.v1.CreateUserResponse>) responseObserver);
          break;
        case METHODID_UPDATE_USER:
          serviceImpl.updateUser((dev.fanfare.write.v1.UpdateUserRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.write.v1.UpdateUserResponse>) responseObserver);
          break;
        case METHODID_DELETE_USER:
          serviceImpl.deleteUser((dev.fanfare.write.v1.DeleteUserRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.write.v1.DeleteUserResponse>) responseObserver);
          break;
        case METHODID_CREATE_TWEET:
          serviceImpl.createTweet((dev.fanfare.write.v1.CreateTweetRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.write.v1.CreateTweetResponse>) responseObserver);
          break;
        case METHODID_BATCH_CREATE_TWEETS:
          serviceImpl.batchCreateTweets((dev.fanfare.write.v1.BatchCreateTweetsRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.write.v1.BatchCreateTweetsResponse>) responseObserver);
          break;
        case METHODID_UPDATE_TWEET:
          serviceImpl.updateTweet((dev.fanfare.write.v1.UpdateTweetRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.write.v1.UpdateTweetResponse>) responseObserver);
          break;
        case METHODID_DELETE_TWEET:
          serviceImpl.deleteTweet((dev.fanfare.write.v1.DeleteTweetRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.write.v1.DeleteTweetResponse>) responseObserver);
          break;
        case METHODID_FOLLOW_USER:
          serviceImpl.followUser((dev.fanfare.write.v1.FollowUserRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.write.v1.FollowUserResponse>) responseObserver);
          break;
        case METHODID_UNFOLLOW_USER:
          serviceImpl.unfollowUser((dev.fanfare.write.v1.UnfollowUserRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.write.v1.UnfollowUserResponse>) responseObserver);
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

  private static abstract class WriteServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    WriteServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.fanfare.write.v1.Write.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("WriteService");
    }
  }

  private static final class WriteServiceFileDescriptorSupplier
      extends WriteServiceBaseDescriptorSupplier {
    WriteServiceFileDescriptorSupplier() {}
  }

  private static final class WriteServiceMethodDescriptorSupplier
      extends WriteServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final String methodName;

    WriteServiceMethodDescriptorSupplier(String methodName) {
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
      synchronized (WriteServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new WriteServiceFileDescriptorSupplier())
              .addMethod(getCreateUserMethod())
              .addMethod(getUpdateUserMethod())
              .addMethod(getDeleteUserMethod())
              .addMethod(getCreateTweetMethod())
              .addMethod(getBatchCreateTweetsMethod())
              .addMethod(getUpdateTweetMethod())
              .addMethod(getDeleteTweetMethod())
              .addMethod(getFollowUserMethod())
              .addMethod(getUnfollowUserMethod())
              .build();
        }
      }
    }
    return result;
  }
}
