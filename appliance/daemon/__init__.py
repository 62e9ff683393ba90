"""edge64d: holds the kernel and the datapath to the configuration, and serves the API."""
