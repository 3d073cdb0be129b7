"""`--workers N`: several processes that serve as one, under a supervisor.

The supervisor binds the ports, takes possession of the store, makes the tokens, and serves nothing itself. Each worker
is a new process with a whole server in it (gRPC must not be forked), which inherits what the supervisor holds.
"""
