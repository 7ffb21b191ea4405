"""One console script, one file a command."""
