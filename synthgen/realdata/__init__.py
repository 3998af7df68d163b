"""Real photos with masks: a reader for each dataset format, every way to encode a mask."""
