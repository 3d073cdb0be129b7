"""A gRPC channel to a server in the same process: the same handlers and interceptors, no sockets, no serialization."""
