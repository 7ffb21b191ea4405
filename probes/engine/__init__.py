"""The hot core: sockets, rings and kernel stamps."""
