"""For those who write objectives and tasks: sample batches to try them on.

from bench.testing import SAMPLE_VOCABULARY, sample_batch
"""

from bench.testing.samples import SAMPLE_VOCABULARY, rows_of, sample_batch

__all__ = ["SAMPLE_VOCABULARY", "rows_of", "sample_batch"]
