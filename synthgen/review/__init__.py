"""FiftyOne in the loop: show a run in its App, take what people decide there back into the run."""
