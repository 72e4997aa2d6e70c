"""Labelled data: published data sets, files of a user, and tasks made from a corpus."""
