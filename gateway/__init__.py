"""The REST shim: serves the methods of a process as HTTP and JSON, on a port of its own.

The write service and the read service mount it beside their gRPC server. Which verb and path stand
for which method is read from the google.api.http options of the contract.
"""
