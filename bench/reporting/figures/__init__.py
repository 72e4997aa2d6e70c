"""The figures of a report, and the processes that draw them."""
