"""gRPC: the server, the handler around each method, validation, health and TLS."""
