"""Pretraining: objectives corrupt the text; one loop trains one encoder and counts the costs."""
