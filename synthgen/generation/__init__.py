"""From specs to samples: the flow on one page, and who carries it out."""
