"""gRPC: the server, the handler around each method, validation, health and TLS.

docs/glossary.md explains the terms.
"""
