"""Draw images/flow.svg: the way from photos to a dataset, with the room of the code at each step.

python docs/draw_flow.py
"""

from __future__ import annotations

from html import escape
from pathlib import Path

STEPS = (  # name, what happens, room of the code
    ("plan", "every choice is drawn", "planning"),
    ("condition", "masks, sketch, edges", "conditioning"),
    ("paint", "the model paints a crop", "backends"),
    ("composite", "only the repaint mask", "generation"),
    ("inspect", "measures and limits", "quality"),
    ("annotate", "the label that is seen", "quality"),
)
INPUTS = (  # name, room, the step that it goes into
    ("photos of good parts", "sources", 0),
    ("real defects (bank)", "references", 1),
    ("checkpoint, adapter", "backends", 2),
)
OUTPUTS = (
    ("export", "exporting"),
    ("train", "training"),
    ("review", "review"),
    ("report", "report"),
)
WIDTH, HEIGHT, STEP = 150, 74, 166
LEFT, TOP = 10, 120
STYLE = "text{font-family:sans-serif;font-size:13px;text-anchor:middle;fill:#222}"


def draw_box(left: int, top: int, lines: tuple[str, ...], fill: str) -> str:
    """Return a box; its first line is bold, its last one small: a room of the code."""
    rows = [f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{HEIGHT}" rx="8" fill="{fill}"/>']
    for place, line in enumerate(lines):
        style = ' font-weight="bold"' if place == 0 else ""
        if place == len(lines) - 1:
            style = ' font-style="italic" fill="#666"'
        y = top + HEIGHT / 2 + 5 + 19 * (place - (len(lines) - 1) / 2)
        rows.append(f'<text x="{left + WIDTH / 2:g}" y="{y:g}"{style}>{escape(line)}</text>')
    return "\n".join(rows)


def draw_arrow(points: str, word: str = "", at: tuple[int, int] = (0, 0)) -> str:
    """Return an arrow along ``points`` (x,y x,y ...), with a word at a place."""
    line = f'<polyline points="{points}" fill="none" stroke="#555" marker-end="url(#tip)"/>'
    return line + (f'\n<text x="{at[0]}" y="{at[1]}">{escape(word)}</text>' if word else "")


def draw_flow() -> str:
    """Return the picture as SVG."""
    parts = []
    for place, (name, what, room) in enumerate(STEPS):
        left = LEFT + STEP * place
        parts.append(draw_box(left, TOP, (name, what, room), "#dbe7f3"))
        if place:
            y = TOP + HEIGHT // 2
            parts.append(draw_arrow(f"{left - STEP + WIDTH},{y} {left - 3},{y}"))
    for name, room, step in INPUTS:
        left = LEFT + STEP * step
        parts.append(draw_box(left, 10, (name, room), "#e4efd9"))
        middle = left + WIDTH // 2
        parts.append(draw_arrow(f"{middle},{10 + HEIGHT} {middle},{TOP - 3}"))
    x_inspect, x_condition = (LEFT + STEP * step + WIDTH // 2 for step in (4, 1))
    below = TOP + HEIGHT
    way = f"{x_inspect},{below} {x_inspect},{below + 26} {x_condition},{below + 26} {x_condition},"
    parts.append(draw_arrow(f"{way}{below + 3}", "rejected: tried again", (590, below + 20)))
    end, row = LEFT + STEP * 5, TOP + 150
    parts.append(draw_box(end, row, ("run folder", "images, labels, record", "runs"), "#f6e6c8"))
    parts.append(draw_arrow(f"{end + WIDTH // 2},{below} {end + WIDTH // 2},{row - 3}"))
    for place, (name, room) in enumerate(OUTPUTS):
        left = LEFT + STEP * (4 - place)
        parts.append(draw_box(left, row + 110, (name, room), "#e4efd9"))
        middle = left + WIDTH // 2
        y = row + HEIGHT // 2
        parts.append(draw_arrow(f"{end},{y} {middle},{y} {middle},{row + 107}"))
    wide, high = 2 * LEFT + STEP * 5 + WIDTH, row + 110 + HEIGHT + 10
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}">',
            f"<style>{STYLE}</style>",
            '<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="6" refY="3" '
            'orient="auto"><path d="M0,0 L7,3 L0,6 z" fill="#555"/></marker></defs>',
            f'<rect width="{wide}" height="{high}" fill="white"/>',
            *parts,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    path = Path(__file__).parent / "images" / "flow.svg"
    path.write_text(draw_flow(), encoding="utf-8")
