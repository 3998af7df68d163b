"""What each command does, from a config to its result; the command line and Python call it."""
