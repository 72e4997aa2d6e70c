"""Everything on disk: run folders, scores, their formats, and the cache of what was read."""
