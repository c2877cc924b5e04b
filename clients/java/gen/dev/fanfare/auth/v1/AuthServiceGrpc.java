package dev.fanfare.auth.v1;

import static io.grpc.MethodDescriptor.generateFullMethodName;

/**
 * <pre>
 * AuthService manages sessions. The write service serves it.
 * A session gives its user two tokens. The access token authenticates calls, in the metadata (in
 * REST: the header) `authorization`, as `Bearer &lt;access token&gt;`. It is a JWT signed with Ed25519,
 * can be verified by any service, and is valid for ten minutes. Fanfare's own services stop accepting
 * it earlier, within about a second, when its session is revoked, the user's password or e-mail
 * address changes, or the user is deleted. The refresh token is used once, to get the next access
 * token and the next refresh token.
 * If the operator has not turned authentication on, every method fails with AUTHENTICATION_OFF.
 * </pre>
 */
@io.grpc.stub.annotations.GrpcGenerated
public final class AuthServiceGrpc {

  private AuthServiceGrpc() {}

  public static final String SERVICE_NAME = "fanfare.auth.v1.AuthService";

  // Static method descriptors that strictly reflect the proto.
  private static volatile io.grpc.MethodDescriptor<dev.fanfare.auth.v1.CreateSessionRequest,
      dev.fanfare.auth.v1.CreateSessionResponse> getCreateSessionMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "CreateSession",
      requestType = dev.fanfare.auth.v1.CreateSessionRequest.class,
      responseType = dev.fanfare.auth.v1.CreateSessionResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fanfare.auth.v1.CreateSessionRequest,
      dev.fanfare.auth.v1.CreateSessionResponse> getCreateSessionMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.auth.v1.CreateSessionRequest, dev.fanfare.auth.v1.CreateSessionResponse> getCreateSessionMethod;
    if ((getCreateSessionMethod = AuthServiceGrpc.getCreateSessionMethod) == null) {
      synchronized (AuthServiceGrpc.class) {
        if ((getCreateSessionMethod = AuthServiceGrpc.getCreateSessionMethod) == null) {
          AuthServiceGrpc.getCreateSessionMethod = getCreateSessionMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.auth.v1.CreateSessionRequest, dev.fanfare.auth.v1.CreateSessionResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "CreateSession"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.auth.v1.CreateSessionRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.auth.v1.CreateSessionResponse.getDefaultInstance()))
              .setSchemaDescriptor(new AuthServiceMethodDescriptorSupplier("CreateSession"))
              .build();
        }
      }
    }
    return getCreateSessionMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fanfare.auth.v1.RefreshSessionRequest,
      dev.fanfare.auth.v1.RefreshSessionResponse> getRefreshSessionMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "RefreshSession",
      requestType = dev.fanfare.auth.v1.RefreshSessionRequest.class,
      responseType = dev.fanfare.auth.v1.RefreshSessionResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fanfare.auth.v1.RefreshSessionRequest,
      dev.fanfare.auth.v1.RefreshSessionResponse> getRefreshSessionMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.auth.v1.RefreshSessionRequest, dev.fanfare.auth.v1.RefreshSessionResponse> getRefreshSessionMethod;
    if ((getRefreshSessionMethod = AuthServiceGrpc.getRefreshSessionMethod) == null) {
      synchronized (AuthServiceGrpc.class) {
        if ((getRefreshSessionMethod = AuthServiceGrpc.getRefreshSessionMethod) == null) {
          AuthServiceGrpc.getRefreshSessionMethod = getRefreshSessionMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.auth.v1.RefreshSessionRequest, dev.fanfare.auth.v1.RefreshSessionResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "RefreshSession"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.auth.v1.RefreshSessionRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.auth.v1.RefreshSessionResponse.getDefaultInstance()))
              .setSchemaDescriptor(new AuthServiceMethodDescriptorSupplier("RefreshSession"))
              .build();
        }
      }
    }
    return getRefreshSessionMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fanfare.auth.v1.RevokeSessionRequest,
      dev.fanfare.auth.v1.RevokeSessionResponse> getRevokeSessionMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "RevokeSession",
      requestType = dev.fanfare.auth.v1.RevokeSessionRequest.class,
      responseType = dev.fanfare.auth.v1.RevokeSessionResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fanfare.auth.v1.RevokeSessionRequest,
      dev.fanfare.auth.v1.RevokeSessionResponse> getRevokeSessionMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.auth.v1.RevokeSessionRequest, dev.fanfare.auth.v1.RevokeSessionResponse> getRevokeSessionMethod;
    if ((getRevokeSessionMethod = AuthServiceGrpc.getRevokeSessionMethod) == null) {
      synchronized (AuthServiceGrpc.class) {
        if ((getRevokeSessionMethod = AuthServiceGrpc.getRevokeSessionMethod) == null) {
          AuthServiceGrpc.getRevokeSessionMethod = getRevokeSessionMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.auth.v1.RevokeSessionRequest, dev.fanfare.auth.v1.RevokeSessionResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "RevokeSession"))
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.auth.v1.RevokeSessionRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.auth.v1.RevokeSessionResponse.getDefaultInstance()))
              .setSchemaDescriptor(new AuthServiceMethodDescriptorSupplier("RevokeSession"))
              .build();
        }
      }
    }
    return getRevokeSessionMethod;
  }

  private static volatile io.grpc.MethodDescriptor<dev.fanfare.auth.v1.GetPublicKeysRequest,
      dev.fanfare.auth.v1.GetPublicKeysResponse> getGetPublicKeysMethod;

  @io.grpc.stub.annotations.RpcMethod(
      fullMethodName = SERVICE_NAME + '/' + "GetPublicKeys",
      requestType = dev.fanfare.auth.v1.GetPublicKeysRequest.class,
      responseType = dev.fanfare.auth.v1.GetPublicKeysResponse.class,
      methodType = io.grpc.MethodDescriptor.MethodType.UNARY)
  public static io.grpc.MethodDescriptor<dev.fanfare.auth.v1.GetPublicKeysRequest,
      dev.fanfare.auth.v1.GetPublicKeysResponse> getGetPublicKeysMethod() {
    io.grpc.MethodDescriptor<dev.fanfare.auth.v1.GetPublicKeysRequest, dev.fanfare.auth.v1.GetPublicKeysResponse> getGetPublicKeysMethod;
    if ((getGetPublicKeysMethod = AuthServiceGrpc.getGetPublicKeysMethod) == null) {
      synchronized (AuthServiceGrpc.class) {
        if ((getGetPublicKeysMethod = AuthServiceGrpc.getGetPublicKeysMethod) == null) {
          AuthServiceGrpc.getGetPublicKeysMethod = getGetPublicKeysMethod =
              io.grpc.MethodDescriptor.<dev.fanfare.auth.v1.GetPublicKeysRequest, dev.fanfare.auth.v1.GetPublicKeysResponse>newBuilder()
              .setType(io.grpc.MethodDescriptor.MethodType.UNARY)
              .setFullMethodName(generateFullMethodName(SERVICE_NAME, "GetPublicKeys"))
              .setSafe(true)
              .setSampledToLocalTracing(true)
              .setRequestMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.auth.v1.GetPublicKeysRequest.getDefaultInstance()))
              .setResponseMarshaller(io.grpc.protobuf.ProtoUtils.marshaller(
                  dev.fanfare.auth.v1.GetPublicKeysResponse.getDefaultInstance()))
              .setSchemaDescriptor(new AuthServiceMethodDescriptorSupplier("GetPublicKeys"))
              .build();
        }
      }
    }
    return getGetPublicKeysMethod;
  }

  /**
   * Creates a new async stub that supports all call types for the service
   */
  public static AuthServiceStub newStub(io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<AuthServiceStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<AuthServiceStub>() {
        @java.lang.Override
        public AuthServiceStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new AuthServiceStub(channel, callOptions);
        }
      };
    return AuthServiceStub.newStub(factory, channel);
  }

  /**
   * Creates a new blocking-style stub that supports unary and streaming output calls on the service
   */
  public static AuthServiceBlockingStub newBlockingStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<AuthServiceBlockingStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<AuthServiceBlockingStub>() {
        @java.lang.Override
        public AuthServiceBlockingStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new AuthServiceBlockingStub(channel, callOptions);
        }
      };
    return AuthServiceBlockingStub.newStub(factory, channel);
  }

  /**
   * Creates a new ListenableFuture-style stub that supports unary calls on the service
   */
  public static AuthServiceFutureStub newFutureStub(
      io.grpc.Channel channel) {
    io.grpc.stub.AbstractStub.StubFactory<AuthServiceFutureStub> factory =
      new io.grpc.stub.AbstractStub.StubFactory<AuthServiceFutureStub>() {
        @java.lang.Override
        public AuthServiceFutureStub newStub(io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
          return new AuthServiceFutureStub(channel, callOptions);
        }
      };
    return AuthServiceFutureStub.newStub(factory, channel);
  }

  /**
   * <pre>
   * AuthService manages sessions. The write service serves it.
   * A session gives its user two tokens. The access token authenticates calls, in the metadata (in
   * REST: the header) `authorization`, as `Bearer &lt;access token&gt;`. It is a JWT signed with Ed25519,
   * can be verified by any service, and is valid for ten minutes. Fanfare's own services stop accepting
   * it earlier, within about a second, when its session is revoked, the user's password or e-mail
   * address changes, or the user is deleted. The refresh token is used once, to get the next access
   * token and the next refresh token.
   * If the operator has not turned authentication on, every method fails with AUTHENTICATION_OFF.
   * </pre>
   */
  public static abstract class AuthServiceImplBase implements io.grpc.BindableService {

    /**
     * <pre>
     * Creates a session for a username and a password. An unknown username, a wrong password and a
     * user without a password give the same error after the same time. A user can have 100 sessions;
     * one more ends the session that was refreshed the longest ago.
     * Errors: INVALID_REQUEST, INVALID_CREDENTIALS, OVERLOADED.
     * </pre>
     */
    public void createSession(dev.fanfare.auth.v1.CreateSessionRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.auth.v1.CreateSessionResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getCreateSessionMethod(), responseObserver);
    }

    /**
     * <pre>
     * Exchanges a refresh token for a new access token and a new refresh token. A refresh token that
     * was used before ends its session, because somebody other than the user may have a copy. After an
     * answer that was lost, create a new session.
     * Errors: INVALID_REQUEST, INVALID_REFRESH_TOKEN.
     * </pre>
     */
    public void refreshSession(dev.fanfare.auth.v1.RefreshSessionRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.auth.v1.RefreshSessionResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getRefreshSessionMethod(), responseObserver);
    }

    /**
     * <pre>
     * Ends a session. Its refresh token becomes invalid at once, and its access tokens within about a
     * second. Ending a session that has already ended is OK. Errors: INVALID_REQUEST.
     * </pre>
     */
    public void revokeSession(dev.fanfare.auth.v1.RevokeSessionRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.auth.v1.RevokeSessionResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getRevokeSessionMethod(), responseObserver);
    }

    /**
     * <pre>
     * Returns the public keys that verify access tokens, as a JSON Web Key Set (RFC 7517).
     * </pre>
     */
    public void getPublicKeys(dev.fanfare.auth.v1.GetPublicKeysRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.auth.v1.GetPublicKeysResponse> responseObserver) {
      io.grpc.stub.ServerCalls.asyncUnimplementedUnaryCall(getGetPublicKeysMethod(), responseObserver);
    }

    @java.lang.Override public final io.grpc.ServerServiceDefinition bindService() {
      return io.grpc.ServerServiceDefinition.builder(getServiceDescriptor())
          .addMethod(
            getCreateSessionMethod(),
            io.grpc.stub.ServerCalls.asyncUnaryCall(
              new MethodHandlers<
                dev.fanfare.auth.v1.CreateSessionRequest,
                dev.fanfare.auth.v1.CreateSessionResponse>(
                  this, METHODID_CREATE_SESSION)))
          .addMethod(
            getRefreshSessionMethod(),
            io.grpc.stub.ServerCalls.asyncUnaryCall(
              new MethodHandlers<
                dev.fanfare.auth.v1.RefreshSessionRequest,
                dev.fanfare.auth.v1.RefreshSessionResponse>(
                  this, METHODID_REFRESH_SESSION)))
          .addMethod(
            getRevokeSessionMethod(),
            io.grpc.stub.ServerCalls.asyncUnaryCall(
              new MethodHandlers<
                dev.fanfare.auth.v1.RevokeSessionRequest,
                dev.fanfare.auth.v1.RevokeSessionResponse>(
                  this, METHODID_REVOKE_SESSION)))
          .addMethod(
            getGetPublicKeysMethod(),
            io.grpc.stub.ServerCalls.asyncUnaryCall(
              new MethodHandlers<
                dev.fanfare.auth.v1.GetPublicKeysRequest,
                dev.fanfare.auth.v1.GetPublicKeysResponse>(
                  this, METHODID_GET_PUBLIC_KEYS)))
          .build();
    }
  }

  /**
   * <pre>
   * AuthService manages sessions. The write service serves it.
   * A session gives its user two tokens. The access token authenticates calls, in the metadata (in
   * REST: the header) `authorization`, as `Bearer &lt;access token&gt;`. It is a JWT signed with Ed25519,
   * can be verified by any service, and is valid for ten minutes. Fanfare's own services stop accepting
   * it earlier, within about a second, when its session is revoked, the user's password or e-mail
   * address changes, or the user is deleted. The refresh token is used once, to get the next access
   * token and the next refresh token.
   * If the operator has not turned authentication on, every method fails with AUTHENTICATION_OFF.
   * </pre>
   */
  public static final class AuthServiceStub extends io.grpc.stub.AbstractAsyncStub<AuthServiceStub> {
    private AuthServiceStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected AuthServiceStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new AuthServiceStub(channel, callOptions);
    }

    /**
     * <pre>
     * Creates a session for a username and a password. An unknown username, a wrong password and a
     * user without a password give the same error after the same time. A user can have 100 sessions;
     * one more ends the session that was refreshed the longest ago.
     * Errors: INVALID_REQUEST, INVALID_CREDENTIALS, OVERLOADED.
     * </pre>
     */
    public void createSession(dev.fanfare.auth.v1.CreateSessionRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.auth.v1.CreateSessionResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getCreateSessionMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Exchanges a refresh token for a new access token and a new refresh token. A refresh token that
     * was used before ends its session, because somebody other than the user may have a copy. After an
     * answer that was lost, create a new session.
     * Errors: INVALID_REQUEST, INVALID_REFRESH_TOKEN.
     * </pre>
     */
    public void refreshSession(dev.fanfare.auth.v1.RefreshSessionRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.auth.v1.RefreshSessionResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getRefreshSessionMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Ends a session. Its refresh token becomes invalid at once, and its access tokens within about a
     * second. Ending a session that has already ended is OK. Errors: INVALID_REQUEST.
     * </pre>
     */
    public void revokeSession(dev.fanfare.auth.v1.RevokeSessionRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.auth.v1.RevokeSessionResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getRevokeSessionMethod(), getCallOptions()), request, responseObserver);
    }

    /**
     * <pre>
     * Returns the public keys that verify access tokens, as a JSON Web Key Set (RFC 7517).
     * </pre>
     */
    public void getPublicKeys(dev.fanfare.auth.v1.GetPublicKeysRequest request,
        io.grpc.stub.StreamObserver<dev.fanfare.auth.v1.GetPublicKeysResponse> responseObserver) {
      io.grpc.stub.ClientCalls.asyncUnaryCall(
          getChannel().newCall(getGetPublicKeysMethod(), getCallOptions()), request, responseObserver);
    }
  }

  /**
   * <pre>
   * AuthService manages sessions. The write service serves it.
   * A session gives its user two tokens. The access token authenticates calls, in the metadata (in
   * REST: the header) `authorization`, as `Bearer &lt;access token&gt;`. It is a JWT signed with Ed25519,
   * can be verified by any service, and is valid for ten minutes. Fanfare's own services stop accepting
   * it earlier, within about a second, when its session is revoked, the user's password or e-mail
   * address changes, or the user is deleted. The refresh token is used once, to get the next access
   * token and the next refresh token.
   * If the operator has not turned authentication on, every method fails with AUTHENTICATION_OFF.
   * </pre>
   */
  public static final class AuthServiceBlockingStub extends io.grpc.stub.AbstractBlockingStub<AuthServiceBlockingStub> {
    private AuthServiceBlockingStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected AuthServiceBlockingStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new AuthServiceBlockingStub(channel, callOptions);
    }

    /**
     * <pre>
     * Creates a session for a username and a password. An unknown username, a wrong password and a
     * user without a password give the same error after the same time. A user can have 100 sessions;
     * one more ends the session that was refreshed the longest ago.
     * Errors: INVALID_REQUEST, INVALID_CREDENTIALS, OVERLOADED.
     * </pre>
     */
    public dev.fanfare.auth.v1.CreateSessionResponse createSession(dev.fanfare.auth.v1.CreateSessionRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getCreateSessionMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Exchanges a refresh token for a new access token and a new refresh token. A refresh token that
     * was used before ends its session, because somebody other than the user may have a copy. After an
     * answer that was lost, create a new session.
     * Errors: INVALID_REQUEST, INVALID_REFRESH_TOKEN.
     * </pre>
     */
    public dev.fanfare.auth.v1.RefreshSessionResponse refreshSession(dev.fanfare.auth.v1.RefreshSessionRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getRefreshSessionMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Ends a session. Its refresh token becomes invalid at once, and its access tokens within about a
     * second. Ending a session that has already ended is OK. Errors: INVALID_REQUEST.
     * </pre>
     */
    public dev.fanfare.auth.v1.RevokeSessionResponse revokeSession(dev.fanfare.auth.v1.RevokeSessionRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getRevokeSessionMethod(), getCallOptions(), request);
    }

    /**
     * <pre>
     * Returns the public keys that verify access tokens, as a JSON Web Key Set (RFC 7517).
     * </pre>
     */
    public dev.fanfare.auth.v1.GetPublicKeysResponse getPublicKeys(dev.fanfare.auth.v1.GetPublicKeysRequest request) {
      return io.grpc.stub.ClientCalls.blockingUnaryCall(
          getChannel(), getGetPublicKeysMethod(), getCallOptions(), request);
    }
  }

  /**
   * <pre>
   * AuthService manages sessions. The write service serves it.
   * A session gives its user two tokens. The access token authenticates calls, in the metadata (in
   * REST: the header) `authorization`, as `Bearer &lt;access token&gt;`. It is a JWT signed with Ed25519,
   * can be verified by any service, and is valid for ten minutes. Fanfare's own services stop accepting
   * it earlier, within about a second, when its session is revoked, the user's password or e-mail
   * address changes, or the user is deleted. The refresh token is used once, to get the next access
   * token and the next refresh token.
   * If the operator has not turned authentication on, every method fails with AUTHENTICATION_OFF.
   * </pre>
   */
  public static final class AuthServiceFutureStub extends io.grpc.stub.AbstractFutureStub<AuthServiceFutureStub> {
    private AuthServiceFutureStub(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      super(channel, callOptions);
    }

    @java.lang.Override
    protected AuthServiceFutureStub build(
        io.grpc.Channel channel, io.grpc.CallOptions callOptions) {
      return new AuthServiceFutureStub(channel, callOptions);
    }

    /**
     * <pre>
     * Creates a session for a username and a password. An unknown username, a wrong password and a
     * user without a password give the same error after the same time. A user can have 100 sessions;
     * one more ends the session that was refreshed the longest ago.
     * Errors: INVALID_REQUEST, INVALID_CREDENTIALS, OVERLOADED.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fanfare.auth.v1.CreateSessionResponse> createSession(
        dev.fanfare.auth.v1.CreateSessionRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getCreateSessionMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Exchanges a refresh token for a new access token and a new refresh token. A refresh token that
     * was used before ends its session, because somebody other than the user may have a copy. After an
     * answer that was lost, create a new session.
     * Errors: INVALID_REQUEST, INVALID_REFRESH_TOKEN.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fanfare.auth.v1.RefreshSessionResponse> refreshSession(
        dev.fanfare.auth.v1.RefreshSessionRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getRefreshSessionMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Ends a session. Its refresh token becomes invalid at once, and its access tokens within about a
     * second. Ending a session that has already ended is OK. Errors: INVALID_REQUEST.
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fanfare.auth.v1.RevokeSessionResponse> revokeSession(
        dev.fanfare.auth.v1.RevokeSessionRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getRevokeSessionMethod(), getCallOptions()), request);
    }

    /**
     * <pre>
     * Returns the public keys that verify access tokens, as a JSON Web Key Set (RFC 7517).
     * </pre>
     */
    public com.google.common.util.concurrent.ListenableFuture<dev.fanfare.auth.v1.GetPublicKeysResponse> getPublicKeys(
        dev.fanfare.auth.v1.GetPublicKeysRequest request) {
      return io.grpc.stub.ClientCalls.futureUnaryCall(
          getChannel().newCall(getGetPublicKeysMethod(), getCallOptions()), request);
    }
  }

  private static final int METHODID_CREATE_SESSION = 0;
  private static final int METHODID_REFRESH_SESSION = 1;
  private static final int METHODID_REVOKE_SESSION = 2;
  private static final int METHODID_GET_PUBLIC_KEYS = 3;

  private static final class MethodHandlers<Req, Resp> implements
      io.grpc.stub.ServerCalls.UnaryMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ServerStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.ClientStreamingMethod<Req, Resp>,
      io.grpc.stub.ServerCalls.BidiStreamingMethod<Req, Resp> {
    private final AuthServiceImplBase serviceImpl;
    private final int methodId;

    MethodHandlers(AuthServiceImplBase serviceImpl, int methodId) {
      this.serviceImpl = serviceImpl;
      this.methodId = methodId;
    }

    @java.lang.Override
    @java.lang.SuppressWarnings("unchecked")
    public void invoke(Req request, io.grpc.stub.StreamObserver<Resp> responseObserver) {
      switch (methodId) {
        case METHODID_CREATE_SESSION:
          serviceImpl.createSession((dev.fanfare.auth.v1.CreateSessionRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.auth.v1.CreateSessionResponse>) responseObserver);
          break;
        case METHODID_REFRESH_SESSION:
          serviceImpl.refreshSession((dev.fanfare.auth.v1.RefreshSessionRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.auth.v1.RefreshSessionResponse>) responseObserver);
          break;
        case METHODID_REVOKE_SESSION:
          serviceImpl.revokeSession((dev.fanfare.auth.v1.RevokeSessionRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.auth.v1.RevokeSessionResponse>) responseObserver);
          break;
        case METHODID_GET_PUBLIC_KEYS:
          serviceImpl.getPublicKeys((dev.fanfare.auth.v1.GetPublicKeysRequest) request,
              (io.grpc.stub.StreamObserver<dev.fanfare.auth.v1.GetPublicKeysResponse>) responseObserver);
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

  private static abstract class AuthServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoFileDescriptorSupplier, io.grpc.protobuf.ProtoServiceDescriptorSupplier {
    AuthServiceBaseDescriptorSupplier() {}

    @java.lang.Override
    public com.google.protobuf.Descriptors.FileDescriptor getFileDescriptor() {
      return dev.fanfare.auth.v1.Auth.getDescriptor();
    }

    @java.lang.Override
    public com.google.protobuf.Descriptors.ServiceDescriptor getServiceDescriptor() {
      return getFileDescriptor().findServiceByName("AuthService");
    }
  }

  private static final class AuthServiceFileDescriptorSupplier
      extends AuthServiceBaseDescriptorSupplier {
    AuthServiceFileDescriptorSupplier() {}
  }

  private static final class AuthServiceMethodDescriptorSupplier
      extends AuthServiceBaseDescriptorSupplier
      implements io.grpc.protobuf.ProtoMethodDescriptorSupplier {
    private final String methodName;

    AuthServiceMethodDescriptorSupplier(String methodName) {
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
      synchronized (AuthServiceGrpc.class) {
        result = serviceDescriptor;
        if (result == null) {
          serviceDescriptor = result = io.grpc.ServiceDescriptor.newBuilder(SERVICE_NAME)
              .setSchemaDescriptor(new AuthServiceFileDescriptorSupplier())
              .addMethod(getCreateSessionMethod())
              .addMethod(getRefreshSessionMethod())
              .addMethod(getRevokeSessionMethod())
              .addMethod(getGetPublicKeysMethod())
              .build();
        }
      }
    }
    return result;
  }
}
