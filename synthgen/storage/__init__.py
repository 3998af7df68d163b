"""Files that are whole or absent, on disk or in object storage; which files lie in a folder."""
