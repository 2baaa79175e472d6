"""The gRPC server: settings, calls, and the way between wire types and asr.runtime. Run it as `asr-server`."""

import os

# Read when grpc is imported: else its core writes lines of its own between those of the log, which are JSON.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
