"""The REST shim: serves the methods of a process as HTTP and JSON, on a port of its own.

The write service and the read service run it beside their gRPC server. The google.api.http options
of the contract give each method its verb and path. Metrics and probes have an HTTP server of their
own, in every process.

docs/glossary.md explains the terms.
"""
