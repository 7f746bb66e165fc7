"""report.html: one self-contained page that shows what became of a corpus."""

from pipeline.report.page import write_report

__all__ = ["write_report"]
