"""What one call of the pipeline is asked to do, checked on construction."""

import dataclasses
from typing import Final

from pipeline import files
from pipeline.clusters import LOCAL
from pipeline.config import DocumentsConfig, InstancesConfig

DOCUMENTS, INSTANCES, ALL = "documents", "instances", "all"
STAGES: Final = (ALL, DOCUMENTS, INSTANCES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions:
    """One call of the pipeline.

    Attributes:
      stage: one of STAGES.
      output_dir: local or gs:// directory of all outputs.
      input_dir: directory of the corpora; not needed for instances.
      vocab: path of a finished vocabulary, or None to learn one.
      runner: "local", or a Beam runner's name.
      num_workers: processes of a local run.
      max_rejected_fraction: the run fails when more of a corpus's lines cannot be read.
      overwrite: whether outputs of an earlier run are deleted first.
      skip_broken_files: whether damaged input files are left out and listed, not an error.
      quiet: whether there is no progress bar.
      documents: what shapes documents/.
      instances: what shapes tfrecords/.
      beam_flags: flags for Beam, checked before.
    """

    stage: str = ALL
    output_dir: str
    input_dir: str | None = None
    vocab: str | None = None
    runner: str = LOCAL
    num_workers: int = 1
    max_rejected_fraction: float = 0.1
    overwrite: bool = False
    skip_broken_files: bool = False
    quiet: bool = False
    documents: DocumentsConfig = dataclasses.field(default_factory=DocumentsConfig)
    instances: InstancesConfig = dataclasses.field(default_factory=InstancesConfig)
    beam_flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.stage not in STAGES:
            raise ValueError(f"stage must be one of {', '.join(STAGES)}, got {self.stage!r}")
        if self.num_workers < 1:
            raise ValueError(f"num_workers must be at least 1, got {self.num_workers}")
        for name in ("input_dir", "output_dir", "vocab"):
            try:
                files.check(getattr(self, name) or "")
            except ValueError as error:
                raise ValueError(f"{name}={error}") from error
        if not 0 <= self.max_rejected_fraction <= 1:
            raise ValueError(
                "max_rejected_fraction must be a fraction from 0 to 1, "
                f"got {self.max_rejected_fraction}"
            )
