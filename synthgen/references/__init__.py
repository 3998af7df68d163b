"""Real defects: read from a dataset's files, cut out and measured one by one, lent to samples."""
