"""Real photos with masks: a reader for each dataset format, and one way to ask for them."""
