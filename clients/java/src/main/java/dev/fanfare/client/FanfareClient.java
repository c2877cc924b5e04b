package dev.fanfare.client;

import dev.fanfare.auth.v1.AuthServiceGrpc;
import dev.fanfare.auth.v1.CreateSessionRequest;
import dev.fanfare.auth.v1.RevokeSessionRequest;
import dev.fanfare.auth.v1.Session;
import dev.fanfare.common.v1.Tweet;
import dev.fanfare.common.v1.User;
import dev.fanfare.read.v1.GetHomeTimelineRequest;
import dev.fanfare.read.v1.ListFollowersRequest;
import dev.fanfare.read.v1.ListFollowingRequest;
import dev.fanfare.read.v1.ListUserTweetsRequest;
import dev.fanfare.read.v1.ListUsersRequest;
import dev.fanfare.read.v1.ReadServiceGrpc;
import dev.fanfare.read.v1.WatchHomeTimelineRequest;
import dev.fanfare.write.v1.WriteServiceGrpc;
import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptors;
import io.grpc.Context;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import java.util.function.Consumer;
import java.util.stream.Stream;

/**
 * Calls a Fanfare system. It is safe for concurrent use, and connects when it is first used.
 *
 * <p>It has the generated stubs of all services, and adds what every caller needs: retries and
 * deadlines, sessions that refresh themselves, lists without page tokens, and a home timeline that
 * follows the server's. Calls that fail throw io.grpc.StatusRuntimeException, as stubs do; {@link
 * FanfareError#of} says why.
 */
public final class FanfareClient implements AutoCloseable {
  /** Ends when the client is closed. */
  private final Context.CancellableContext open = Context.ROOT.withCancellation();

  private final Channels channels;
  private final Sessions sessions;
  private final AuthServiceGrpc.AuthServiceBlockingStub auth;
  private final Channel writeChannel;
  private final Channel readChannel;

  private FanfareClient(
      ManagedChannel write, ManagedChannel read, Session stored, Consumer<Session> onSession) {
    channels = new Channels(write, read);
    Channel unauthenticated = ClientInterceptors.intercept(write, new DefaultDeadline());
    auth = AuthServiceGrpc.newBlockingStub(unauthenticated);
    sessions = new Sessions(AuthServiceGrpc.newStub(unauthenticated), stored, onSession);
    // The last interceptor is the first to see a call.
    writeChannel =
        ClientInterceptors.intercept(write, sessions, new RequestIds(), new DefaultDeadline());
    readChannel = ClientInterceptors.intercept(read, sessions, new DefaultDeadline());
  }

  /**
   * Returns a builder of a client of the write service and the read service at the given targets, such
   * as "127.0.0.1:50051" and "127.0.0.1:50052".
   */
  public static Builder builder(String writeTarget, String readTarget) {
    return new Builder(writeTarget, readTarget);
  }

  /** Returns the commands. */
  public WriteServiceGrpc.WriteServiceBlockingStub write() {
    return WriteServiceGrpc.newBlockingStub(writeChannel);
  }

  /** Returns the queries. */
  public ReadServiceGrpc.ReadServiceBlockingStub read() {
    return ReadServiceGrpc.newBlockingStub(readChannel);
  }

  /** Returns the sessions; {@link #signIn} and {@link #signOut} use it. */
  public AuthServiceGrpc.AuthServiceBlockingStub auth() {
    return auth;
  }

  /** Returns the channel of {@link #write}, for the other kinds of stubs. */
  public Channel writeChannel() {
    return writeChannel;
  }

  /** Returns the channel of {@link #read}, for the other kinds of stubs. */
  public Channel readChannel() {
    return readChannel;
  }

  /** Creates a session, with which the client then makes its calls. */
  public Session signIn(String username, String password) {
    CreateSessionRequest request =
        CreateSessionRequest.newBuilder().setUsername(username).setPassword(password).build();
    Session created = auth.createSession(request).getSession();
    sessions.begin(created);
    return created;
  }

  /** Ends the session, on the server too. Without a session it does nothing. */
  public void signOut() {
    Session ended = sessions.end();
    if (ended != null) {
      auth.revokeSession(
          RevokeSessionRequest.newBuilder().setRefreshToken(ended.getRefreshToken()).build());
    }
  }

  /**
   * Returns all tweets of a home timeline from the request's page on, newest first. Pages, of the
   * request's limit each, are read as they are needed.
   */
  public Stream<Tweet> homeTimeline(GetHomeTimelineRequest request) {
    return Pages.items(
        request,
        page -> {
          var response = read().getHomeTimeline(page);
          return new Pages.Page<>(response.getTweetsList(), response.getNextPageToken());
        },
        (page, token) -> page.toBuilder().setPageToken(token).clearOffset().build());
  }

  /** Returns all tweets of a user, newest first; see {@link #homeTimeline}. */
  public Stream<Tweet> userTweets(ListUserTweetsRequest request) {
    return Pages.items(
        request,
        page -> {
          var response = read().listUserTweets(page);
          return new Pages.Page<>(response.getTweetsList(), response.getNextPageToken());
        },
        (page, token) -> page.toBuilder().setPageToken(token).clearOffset().build());
  }

  /** Returns all users by id; see {@link #homeTimeline}. */
  public Stream<User> users(ListUsersRequest request) {
    return Pages.items(
        request,
        page -> {
          var response = read().listUsers(page);
          return new Pages.Page<>(response.getUsersList(), response.getNextPageToken());
        },
        (page, token) -> page.toBuilder().setPageToken(token).clearOffset().build());
  }

  /** Returns all followers of a user, newest follow first; see {@link #homeTimeline}. */
  public Stream<User> followers(ListFollowersRequest request) {
    return Pages.items(
        request,
        page -> {
          var response = read().listFollowers(page);
          return new Pages.Page<>(response.getUsersList(), response.getNextPageToken());
        },
        (page, token) -> page.toBuilder().setPageToken(token).clearOffset().build());
  }

  /** Returns all users whom a user follows, newest follow first; see {@link #homeTimeline}. */
  public Stream<User> following(ListFollowingRequest request) {
    return Pages.items(
        request,
        page -> {
          var response = read().listFollowing(page);
          return new Pages.Page<>(response.getUsersList(), response.getNextPageToken());
        },
        (page, token) -> page.toBuilder().setPageToken(token).clearOffset().build());
  }

  /**
   * Follows a home timeline, from now on until the watch is closed. The request's resume_token is
   * not used.
   */
  public Watch watch(WatchHomeTimelineRequest request) {
    return new Watch(read(), sessions, open, request);
  }

  /** Ends all calls, watches and connections. */
  @Override
  public void close() {
    open.cancel(null);
    channels.close();
  }

  /** Builds a client. */
  public static final class Builder {
    private final String writeTarget;
    private final String readTarget;
    private ChannelCredentials credentials = InsecureChannelCredentials.create();
    private Session session;
    private Consumer<Session> onSession = created -> {};

    private Builder(String writeTarget, String readTarget) {
      this.writeTarget = writeTarget;
      this.readTarget = readTarget;
    }

    /**
     * Makes the client connect with these credentials, such as those of io.grpc.TlsChannelCredentials.
     * Fanfare's gRPC ports ask for a client certificate where TLS is on. The default is no TLS.
     */
    public Builder credentials(ChannelCredentials credentials) {
      this.credentials = credentials;
      return this;
    }

    /** Makes the client continue a session that an earlier one stored; see {@link #onSession}. */
    public Builder session(Session session) {
      this.session = session;
      return this;
    }

    /**
     * Has every new session passed to a function, before it is used: after signIn, and after each
     * refresh. A refresh token can be used once, so only the last session can be continued.
     */
    public Builder onSession(Consumer<Session> store) {
      this.onSession = store;
      return this;
    }

    /** Returns the client, which the caller closes. */
    public FanfareClient build() {
      return new FanfareClient(
          Channels.open(writeTarget, credentials),
          Channels.open(readTarget, credentials),
          session,
          onSession);
    }
  }
}
