"""The page a person opens first, those before and beside it, and the contact sheet."""

from synthgen.report.compare import write_comparison
from synthgen.report.page import write_report
from synthgen.report.preview import draw_preview, write_preview
from synthgen.report.sheet import write_contact_sheet

__all__ = [
    "draw_preview",
    "write_comparison",
    "write_contact_sheet",
    "write_preview",
    "write_report",
]
