"""The scripted demonstration: a living system, its truth and its bars."""
