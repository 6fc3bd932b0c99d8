"""Methods of the two papers: one file a method."""
