"""The control plane: configuration, the daemon edge64d, the console program edge64."""
