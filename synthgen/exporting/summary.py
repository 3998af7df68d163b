"""What a person sees at the end of an export."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from synthgen.exporting.write import ExportResult

__all__ = ["summarise_export"]


def summarise_export(exported: ExportResult) -> None:
    """Print images by class and split, what each format lost, notes, and what to open.

    Classes that no image shows, and formats that hold every pixel, are left out of the tables.
    """
    console = Console()
    counts = exported.labels.counts()
    table = Table("images", *map(str, counts.columns))
    for kind, row in counts[counts.sum(axis=1) > 0].iterrows():
        table.add_row(str(kind), *(str(count) for count in row))
    console.print(table)
    if any(loss.by_class for loss in exported.losses.values()):
        lost = Table("format", "class", "defects", "mean IoU", "worst IoU", "worst sample")
        for name, loss in sorted(exported.losses.items()):
            for one in loss.table().to_dict("records"):
                numbers = (f"{one['mean_iou']:.4f}", f"{one['worst_iou']:.4f}")
                lost.add_row(name, one["class"], str(one["defects"]), *numbers, one["worst_sample"])
        console.print("what the formats hold of the masks (all others: every pixel)")
        console.print(lost)
    sentences = [*exported.notes, *(n for loss in exported.losses.values() for n in loss.notes)]
    for sentence in sentences:
        console.print(f"[yellow]note[/yellow] {escape(sentence)}", highlight=False)
    defects = sum(len(image.defects) for image in exported.labels)
    made = ", ".join(sorted(exported.losses))
    console.print(f"{len(exported.labels)} images, {defects} labelled defects as {made}")
    console.print(f"open    {exported.path}", highlight=False, soft_wrap=True)
