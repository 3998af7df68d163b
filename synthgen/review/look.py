"""How the App shows a run at first sight: colours by class, sidebar, saved views, the panel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from synthgen.review.fields import DEFECTS
from synthgen.review.similar import embed_samples
from synthgen.review.views import save_views
from synthgen.runs.reader import RunTables
from synthgen.runs.reviews.verdicts import CONFLICT
from synthgen.runs.schema import GROUPS, columns_of

__all__ = ["WORKSPACE", "arrange"]

WORKSPACE = "review"  # samples, and the panel beside them
SAMPLES = "Samples"  # the panel of FiftyOne's own
PANEL = "review_panel"  # of the plugin
COLOURS = (  # told apart on grey metal, also by most who see colours otherwise
    *("#ff5a36", "#00b5d8", "#ffc400", "#8e5bff", "#3ddc84", "#ff4fa3"),
    *("#1f78ff", "#b8e000", "#ff9640", "#00d5b0", "#c98bff", "#7d8ca3"),
    *("#a86b3c", "#6fb1ff", "#ff8fa3", "#7fa650"),
)
ASKED, IGNORED = "#00c8ff", "#9e9e9e"
ADDED = {  # fields that the review adds to those of the manifest, by their place in the sidebar
    "review": ("verdict", "reason", "reviewer"),
    "sample": ("synthgen_id", "broken"),
    "labels": (DEFECTS, "realised", "asked"),
    "metadata": ("id", "filepath", "metadata", "created_at", "last_modified_at", "slices"),
    "notes of the review": ("row_digest", "label_digest", "decisions", "editor"),
}
ORDER = ("review", "labels", *GROUPS[1:], "metadata", "notes of the review")
OPEN = ("review", "labels", "sample")
ACTIVE = (DEFECTS, "defect_class", "verdict")  # shown on the pictures of the grid


def arrange(fiftyone: Any, dataset: Any, run: RunTables) -> None:
    """Set colours, sidebar, saved views, embedding and the layout of a run's dataset.

    What an earlier push set is replaced; labels and verdicts stay. The layout is the workspace
    ``WORKSPACE``: the samples, and the panel of the review beside them.
    """
    colour = {name: COLOURS[n % len(COLOURS)] for n, name in enumerate(run.classes)}
    dataset.default_classes = list(run.classes)
    targets = {number: name for name, number in run.classes.items()}
    dataset.mask_targets = {"realised": targets | {255: "ignored"}, "asked": {255: "asked"}}
    dataset.app_config.color_scheme = _colours(fiftyone, run.classes, colour)
    dataset.app_config.active_fields = fiftyone.ActiveFields(paths=list(ACTIVE))
    dataset.app_config.sidebar_groups = list(_sidebar(fiftyone, dataset))
    # the App's tab Annotate then edits defects: their classes, boxes and masks
    classes = {"component": "dropdown", "classes": list(run.classes)}
    dataset.set_label_schemas({DEFECTS: {"type": "detections", "attributes": [], **classes}})
    dataset.active_label_schemas = [DEFECTS]
    embed_samples(fiftyone, dataset, run)
    save_views(fiftyone, dataset, run)
    parts = [fiftyone.Panel(type=name, pinned=name == SAMPLES) for name in (SAMPLES, PANEL)]
    spaces = [fiftyone.Space(children=[part], active_child=part.component_id) for part in parts]
    layout = fiftyone.Space(children=spaces, orientation="horizontal", sizes=[0.72, 0.28])
    dataset.save_workspace(WORKSPACE, layout, overwrite=True)
    dataset.save()


def _colours(fiftyone: Any, classes: dict[str, int], colour: dict[str, str]) -> Any:
    values = [{"value": name, "color": tone} for name, tone in colour.items()]
    targets = [{"intTarget": classes[name], "color": tone} for name, tone in colour.items()]
    return fiftyone.ColorScheme(
        color_by="value",
        color_pool=list(COLOURS),
        opacity=0.45,
        fields=[
            {"path": DEFECTS, "colorByAttribute": "label", "valueColors": values},
            {"path": "defect_class", "colorByAttribute": "value", "valueColors": values},
            {
                "path": "realised",
                "maskTargetsColors": [*targets, {"intTarget": 255, "color": IGNORED}],
            },
            {"path": "asked", "maskTargetsColors": [{"intTarget": 255, "color": ASKED}]},
            {
                "path": "verdict",
                "colorByAttribute": "value",
                "valueColors": [
                    {"value": "accept", "color": "#2f9e73"},
                    {"value": "reject", "color": "#d1603d"},
                    {"value": CONFLICT, "color": "#b58900"},
                ],
            },
        ],
    )


def _sidebar(fiftyone: Any, dataset: Any) -> Iterator[Any]:
    """Yield the groups of the sidebar in order, with those of their fields that the dataset has."""
    fields = dataset.get_field_schema()
    yield fiftyone.SidebarGroupDocument(name="tags", paths=[], expanded=True)
    for name in ORDER:
        recorded = [one.name for one in columns_of("manifest") if one.group == name]
        paths = (*ADDED.get(name, ()), *recorded)
        present = [path for path in paths if path in fields]
        yield fiftyone.SidebarGroupDocument(name=name, paths=present, expanded=name in OPEN)
