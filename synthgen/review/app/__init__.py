"""The server of FiftyOne's App, in a process of its own: whom it answers, what it sends."""
