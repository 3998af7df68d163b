"""Control images: what shape the part and the defect have."""
