"""A large corpus of files in parts, which processes read and encode side by side."""
