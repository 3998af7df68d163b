"""The page a person opens first, and the contact sheet."""

from synthgen.report.page import write_report
from synthgen.report.sheet import write_contact_sheet

__all__ = ["write_contact_sheet", "write_report"]
