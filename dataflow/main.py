"""What a Flex template starts: a job of one element, whose worker gives the pipeline's command.

A template's program must end when its job is handed over, and a run of the pipeline is several jobs
with checks between them. So the job that the template makes is a launcher: it waits for the others.
If it is lost, Dataflow starts it again, and what is done is recalled.
"""

import sys
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

OF_THE_TEMPLATE = ("--job_name", "--template_location")
OF_THE_RUN = ("--num_workers", "--max_num_workers")


def flags_of_run(flags: Sequence[str]) -> list[str]:
    """Returns the flags of the pipeline's command, given those that a template is started with."""
    kept = [flag for flag in flags if flag.partition("=")[0] not in OF_THE_TEMPLATE]
    return [*kept, "--quiet"]


def flags_of_launcher(flags: Sequence[str]) -> list[str]:
    """Returns the flags of the job that launches the run: one worker is enough."""
    kept = [flag for flag in flags if flag.partition("=")[0] not in OF_THE_RUN]
    return [*kept, "--num_workers=1", "--max_num_workers=1"]


def launch(flags: list[str]) -> None:
    """Gives the pipeline's command.

    Raises:
      RuntimeError: it failed; its own message is in the log above.
    """
    from pipeline.cli import main

    exit_code = main(flags)
    if exit_code:
        raise RuntimeError(f"python -m pipeline ended with {exit_code}")


def build(pipeline: beam.Pipeline, flags: Sequence[str]) -> None:
    """Adds the launcher to a graph."""
    _ = pipeline | beam.Create([flags_of_run(flags)]) | "Launch" >> beam.Map(launch)


if __name__ == "__main__":
    job = beam.Pipeline(options=PipelineOptions(flags_of_launcher(sys.argv[1:])))
    build(job, sys.argv[1:])
    job.run()
