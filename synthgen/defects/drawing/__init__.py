"""What the classes of defects share: shapes, lines, and the renderer."""
