"""What a section of the report is, and how it words what it says."""
