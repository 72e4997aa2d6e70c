"""Tasks that cosines of embeddings solve: they can be read after a contrastive stage, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bench.probing.contrastive.settings import ContrastiveSettings
from bench.probing.task import Probe, Reader, Task
from bench.settings import as_mapping, changed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONTRASTIVE: Probe = "contrastive"


class CosineTask(Task):
    """A task of a family that compares cosines; named before the family's other classes."""

    contrastive_settings: ContrastiveSettings = ContrastiveSettings()
    default_probe: ClassVar[Probe] = "linear"

    def probes_among(self, requested: Sequence[Probe]) -> tuple[Probe, ...]:
        """A family that fits nothing has one score of frozen features, and one after the stage."""
        if self.probes:
            return super().probes_among(requested)
        scored = (one if one == CONTRASTIVE else self.default_probe for one in requested)
        return tuple(dict.fromkeys(scored))

    def configure(self, settings: Mapping[str, Mapping[str, Any]]) -> None:
        """Change settings of the probe and of the contrastive stage.

        Raises:
            BenchError: A value is out of range.
        """
        super().configure(settings)
        own = settings.get(CONTRASTIVE, {})
        self.contrastive_settings = changed(self.contrastive_settings, own, CONTRASTIVE)

    def identity(self) -> dict[str, Any]:
        """The settings and the probe as plain values, with those of the stage if it is used."""
        if self.probe != CONTRASTIVE:
            return super().identity()
        stage = as_mapping(self.contrastive_settings)
        return super().identity() | {"probe": CONTRASTIVE} | stage

    def reader_of_probe(self, reader: Reader) -> tuple[Reader, dict[str, Any]]:
        """The reader that cosines are taken from, and the report on the stage for the details.

        Raises:
            NotApplicableError: The reader has no corpus, or one that gives too few pairs.
        """
        if self.probe != CONTRASTIVE:
            return reader, {}
        from bench.probing.contrastive.training import after_contrastive

        trained, report = after_contrastive(reader, self.contrastive_settings)
        return trained, {"contrastive": report}
