"""The gRPC server: its calls, health, TLS, and messages of the contract."""
