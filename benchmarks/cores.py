"""Which process runs on which core.

The server has the first core for itself. The second one takes what stands before the server (Envoy with one worker, or
the bridge) and the load generator, for all subjects alike. On the server's core the load would slow every subject; on
the other one it slows only those whose proxy is their slowest part.
"""

import os
import sys

CORES = sorted(os.sched_getaffinity(0))
if len(CORES) < 2:
    sys.exit("The benchmarks need two cores: one for the server, one for the load.")

SERVER_CORE = CORES[0]
PROXY_CORE = CORES[1]
LOAD_CORE = CORES[1]
