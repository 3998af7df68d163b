"""The page a person opens first, the page that compares runs, and the contact sheet."""

from synthgen.report.compare import write_comparison
from synthgen.report.page import write_report
from synthgen.report.sheet import write_contact_sheet

__all__ = ["write_comparison", "write_contact_sheet", "write_report"]
