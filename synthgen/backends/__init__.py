"""Backends paint: Condition -> image. Each has one method, ``paint``."""
