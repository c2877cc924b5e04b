package dev.fanfare.client;

import com.google.gson.Gson;
import com.google.gson.reflect.TypeToken;
import io.grpc.ChannelCredentials;
import io.grpc.ConnectivityState;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;

/** The connections of a client. */
final class Channels implements AutoCloseable {
  /** The retries that Fanfare publishes: docs/service_config.json. */
  private static final String SERVICE_CONFIG = "service_config.json";

  private final List<ManagedChannel> channels;
  private final ScheduledExecutorService timer =
      Executors.newSingleThreadScheduledExecutor(
          task -> {
            Thread thread = new Thread(task, "fanfare-reconnect");
            thread.setDaemon(true);
            return thread;
          });

  Channels(ManagedChannel... channels) {
    this.channels = List.of(channels);
    timer.scheduleWithFixedDelay(this::reconnect, 1, 1, TimeUnit.SECONDS);
  }

  static ManagedChannel open(String target, ChannelCredentials credentials) {
    return Grpc.newChannelBuilder(target, credentials)
        .defaultServiceConfig(serviceConfig())
        // A connection that has died silently is noticed while a call waits on it.
        .keepAliveTime(10, TimeUnit.SECONDS)
        .keepAliveTimeout(5, TimeUnit.SECONDS)
        .build();
  }

  private static Map<String, Object> serviceConfig() {
    try (InputStream file = Channels.class.getResourceAsStream(SERVICE_CONFIG)) {
      // Gson reads numbers as Double, which grpc expects.
      return new Gson()
          .fromJson(
              new InputStreamReader(file, StandardCharsets.UTF_8),
              new TypeToken<Map<String, Object>>() {});
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  /**
   * Tries to connect again at once. grpc-java waits for up to two minutes between attempts, and has
   * no option for it. This is called every second, so that a server that is back is noticed soon.
   */
  private void reconnect() {
    for (ManagedChannel channel : channels) {
      if (channel.getState(false) == ConnectivityState.TRANSIENT_FAILURE) {
        channel.resetConnectBackoff();
      }
    }
  }

  @Override
  public void close() {
    timer.shutdownNow();
    channels.forEach(ManagedChannel::shutdownNow);
  }
}
