"""The plugin of FiftyOne's App: accept, reject, paint again, fix the class; how far the review is.

FiftyOne loads this module in its server; nothing else imports it.
"""

from __future__ import annotations

import getpass
import os
from typing import Any

from fiftyone import operators
from fiftyone.operators import types

from synthgen.review.decisions import count_progress, fix_class, store_decision
from synthgen.review.fields import REVIEWER
from synthgen.samples.sample import ACCEPT, CONFLICT, REJECT

REASONS = ("label is wrong", "looks unreal", "defect is hardly visible", "wrong class")
AGAIN = "paint again"
NOTHING = "Tick samples first, or open one."
PANEL = "review_panel"
KEYS = (
    "Alt+A accept · Alt+R reject · Alt+Shift+R reject, and say why · Alt+G paint again · "
    "Alt+C fix class"
)


class _Decision(operators.Operator):
    """A button, and a key, that notes a verdict on what is ticked or open."""

    name, label, icon = "", "", ""

    @property
    def config(self) -> Any:
        """How FiftyOne lists it: a name for keys, a label and an icon."""
        return operators.OperatorConfig(
            name=self.name, label=self.label, icon=self.icon, dynamic=False
        )

    def execute(self, ctx: Any) -> dict[str, Any]:
        """Note the verdict; return how many samples got it."""
        return _act(ctx, *self.decision(ctx))

    def decision(self, ctx: Any) -> tuple[str, str]:
        """Return verdict and reason."""
        raise NotImplementedError


class Accept(_Decision):
    """Accepts: the sample may be trained with."""

    name, label, icon = "accept", "Accept", "check"

    def decision(self, ctx: Any) -> tuple[str, str]:
        """Return accept, without a reason."""
        return ACCEPT, ""


class Repaint(_Decision):
    """Rejects without asking why: the next ``synthgen generate`` paints the sample again."""

    name, label, icon = "repaint", "Paint again", "refresh"

    def decision(self, ctx: Any) -> tuple[str, str]:
        """Return reject, with "paint again" as the reason."""
        return REJECT, AGAIN


class Reject(_Decision):
    """Rejects with a reason, which is asked for."""

    name, label, icon = "reject", "Reject", "close"

    def resolve_input(self, ctx: Any) -> Any:
        """Return the form that asks why: one of ``REASONS``, or a text of one's own."""
        inputs = types.Object()
        choices = types.AutocompleteView(allow_user_input=True)
        for reason in REASONS:
            choices.add_choice(reason, label=reason)
        inputs.str("reason", label="Why?", view=choices, default=REASONS[0])
        return types.Property(inputs, view=types.View(label="Reject"))

    def decision(self, ctx: Any) -> tuple[str, str]:
        """Return reject, with the reason that the form holds."""
        return REJECT, str(ctx.params.get("reason") or "")


class FixClass(operators.Operator):
    """Gives the ticked defects, or all of the ticked samples, another class."""

    @property
    def config(self) -> Any:
        """How FiftyOne lists it."""
        return operators.OperatorConfig(name="fix_class", label="Fix class", icon="label")

    def resolve_input(self, ctx: Any) -> Any:
        """Return the form that asks for the class, one of the run's."""
        inputs = types.Object()
        choices = types.DropdownView()
        for name in ctx.dataset.default_classes:
            choices.add_choice(name, label=name)
        inputs.str("name", label="Class", view=choices, required=True)
        return types.Property(inputs, view=types.View(label="Fix class"))

    def execute(self, ctx: Any) -> dict[str, Any]:
        """Change the class; return how many defects changed."""
        return _relabel(ctx, str(ctx.params["name"]))


class ReviewPanel(operators.Panel):
    """How far the review is, the balance of the classes, and the buttons."""

    @property
    def config(self) -> Any:
        """How FiftyOne lists it: beside the grid, and beside an open sample."""
        return operators.PanelConfig(
            name=PANEL, label="Review", icon="fact_check", surfaces="grid modal"
        )

    def on_load(self, ctx: Any) -> None:
        """Fill in the first reason and count; FiftyOne calls it when the panel opens."""
        ctx.panel.state.reason = ctx.panel.state.reason or REASONS[0]
        self._count(ctx)

    def on_change_selected(self, ctx: Any) -> None:
        """Count again when other samples are ticked."""
        self._count(ctx)

    def on_change_current_sample(self, ctx: Any) -> None:
        """Count again when another sample is opened."""
        self._count(ctx)

    def accept(self, ctx: Any) -> None:
        """Accept what is ticked, or else what is open."""
        _act(ctx, ACCEPT, "")
        self._count(ctx)

    def accept_rest(self, ctx: Any) -> None:
        """Accept all samples of the view that have no verdict yet."""
        ids = ctx.view.values("id")
        count = store_decision(ctx.dataset, ids, ACCEPT, "", _reviewer(), is_rest=True)
        _tell(ctx, count, f"{ACCEPT}: {count} samples")
        self._count(ctx)

    def reject(self, ctx: Any) -> None:
        """Reject what is ticked, or else what is open, for the reason in the panel."""
        _act(ctx, REJECT, str(ctx.panel.get_state("reason") or REASONS[0]))
        self._count(ctx)

    def repaint(self, ctx: Any) -> None:
        """Reject what is ticked, or else what is open, so that it is painted again."""
        _act(ctx, REJECT, AGAIN)
        self._count(ctx)

    def fix(self, ctx: Any) -> None:
        """Give the ticked defects the class that is chosen in the panel."""
        if name := ctx.panel.get_state("classes.class_name"):
            _relabel(ctx, str(name))
        else:
            ctx.ops.notify("Choose a class first.", variant="warning")
        self._count(ctx)

    def _count(self, ctx: Any) -> None:
        ctx.panel.state.progress = _table(count_progress(ctx.dataset))

    def render(self, ctx: Any) -> Any:
        """Return the panel: what is chosen, the buttons, the keys, and the count by class."""
        panel = types.Object()
        ticked = len(_targets(ctx))
        panel.md(f"**{ticked} chosen**" if ticked else NOTHING, name="chosen")
        row = panel.h_stack("verdicts", gap=1)
        row.btn("accept", label="Accept", on_click=self.accept, variant="contained")
        row.btn("reject", label="Reject", on_click=self.reject, variant="contained")
        row.btn("repaint", label="Paint again", on_click=self.repaint, variant="outlined")
        reasons = types.AutocompleteView(allow_user_input=True, space=12)
        for reason in REASONS:
            reasons.add_choice(reason, label=reason)
        panel.str("reason", label="Why reject?", view=reasons, default=REASONS[0])
        row = panel.h_stack("classes", gap=1, align_y="end")
        names = types.DropdownView(space=8)
        for name in ctx.dataset.default_classes:
            names.add_choice(name, label=name)
        row.str("class_name", label="Class of the defects", view=names)
        row.btn("fix", label="Fix class", on_click=self.fix, variant="outlined")
        panel.md(KEYS, name="keys")
        panel.btn(
            "rest",
            label="Accept all unreviewed in view",
            on_click=self.accept_rest,
            variant="outlined",
        )
        panel.md(ctx.panel.get_state("progress") or "", name="progress_text")
        view = types.GridView(orientation="vertical", gap=1)
        return types.Property(panel, view=view)


def _targets(ctx: Any) -> list[str]:
    """Return the ids of what is ticked, or else of what is open."""
    ticked = list(ctx.selected or [])
    return ticked or ([ctx.current_sample] if ctx.current_sample else [])


def _act(ctx: Any, verdict: str, reason: str) -> dict[str, Any]:
    count = store_decision(ctx.dataset, _targets(ctx), verdict, reason, _reviewer())
    _tell(ctx, count, f"{verdict}: {count} samples" + (f" ({reason})" if reason else ""))
    return {"count": count}


def _relabel(ctx: Any, name: str) -> dict[str, Any]:
    labels = [one["label_id"] for one in ctx.selected_labels or []]
    count = fix_class(ctx.dataset, _targets(ctx), labels, name, _reviewer())
    if not count and (labels or _targets(ctx)):
        ctx.ops.notify(f"No defect is changed: all are {name} already.", variant="info")
    else:
        _tell(ctx, count, f"{count} defects are {name} now")
    return {"count": count}


def _tell(ctx: Any, count: int, text: str) -> None:
    if not count:
        ctx.ops.notify(NOTHING, variant="warning")
        return
    ctx.ops.notify(text, variant="success")
    ctx.ops.clear_selected_samples()
    if not ctx.current_sample:  # with a sample open, FiftyOne would lose the masks it has drawn
        ctx.ops.reload_dataset()


def _table(counts: dict[str, dict[str, int]]) -> str:
    """Return the state of the review as Markdown."""
    total = sum(sum(one.values()) for one in counts.values())
    done = {
        verdict: sum(one.get(verdict, 0) for one in counts.values())
        for verdict in (ACCEPT, REJECT, CONFLICT)
    }
    reviewed = sum(done.values())
    lines = [
        f"**{reviewed} of {total} reviewed** · {done[ACCEPT]} accepted · {done[REJECT]} rejected"
        + (f" · {done[CONFLICT]} in conflict" if done[CONFLICT] else ""),
        "",
        "| class | all | accepted | rejected |",
        "|---|---:|---:|---:|",
    ]
    for name, one in counts.items():
        row = (sum(one.values()), one.get(ACCEPT, 0), one.get(REJECT, 0))
        lines.append(f"| {name} | {row[0]} | {row[1]} | {row[2]} |")
    return "\n".join(lines)


def _reviewer() -> str:
    return os.environ.get(REVIEWER) or getpass.getuser()


def register(plugin: Any) -> None:
    """Tell FiftyOne what this plugin has."""
    for one in (Accept, Reject, Repaint, FixClass, ReviewPanel):
        plugin.register(one)
