"""The only owner of what is on disk: run folders, scores, their schema and their cache."""
