"""Proto3 JSON (protobuf.dev/programming-guides/json), compiled once a message type."""
