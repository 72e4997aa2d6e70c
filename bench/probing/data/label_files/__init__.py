"""Label files as text: their formats, the values of their cells, and the schemes of span labels."""
