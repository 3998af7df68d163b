"""Who works: threads here, processes of this machine, or the actors of a Ray cluster."""
