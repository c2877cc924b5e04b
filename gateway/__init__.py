"""The REST shim: HTTP and JSON to gRPC, as the contract's google.api.http options say."""
