"""Ways to run many specifications, each as an operating-system process of its own."""
