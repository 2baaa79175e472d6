"""The gRPC server: settings, calls, and the way between wire types and asr.runtime. Run it as `asr-server`."""
