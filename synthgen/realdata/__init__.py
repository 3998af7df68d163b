"""Real photos with masks: every way to encode a mask."""
