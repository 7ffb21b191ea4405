"""The vocabulary: what a mesh, a summary, a table and a topic are. Parses text it is given, does no I/O."""
