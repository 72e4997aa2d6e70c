"""Records on disk, the statistics over them, and the tables people read. Tables are derived."""
