"""The plugin of FiftyOne's App: accept, reject, paint again, fix the class; how far the review is.

FiftyOne loads this module in its server; nothing else imports it.
"""

from __future__ import annotations

import getpass
import os
from typing import Any

from fiftyone import operators
from fiftyone.operators import types

from synthgen.review.decisions import count_progress, decide, fix_class
from synthgen.runs.verdicts import ACCEPT, CONFLICT, REJECT

REASONS = ("label is wrong", "looks unreal", "defect is hardly visible", "wrong class")
AGAIN = "paint again"
NOTHING = "Tick samples first, or open one."
PANEL = "review_panel"


class _Decision(operators.Operator):
    """A button, and a key, that notes a verdict on what is ticked or open."""

    name, label, icon = "", "", ""

    @property
    def config(self) -> Any:
        return operators.OperatorConfig(
            name=self.name, label=self.label, icon=self.icon, dynamic=False
        )

    def execute(self, ctx: Any) -> dict[str, Any]:
        return _act(ctx, *self.decision(ctx))

    def decision(self, ctx: Any) -> tuple[str, str]:
        """Return verdict and reason."""
        raise NotImplementedError


class Accept(_Decision):
    name, label, icon = "accept", "Accept", "check"

    def decision(self, ctx: Any) -> tuple[str, str]:
        return ACCEPT, ""


class Repaint(_Decision):
    name, label, icon = "repaint", "Paint again", "refresh"

    def decision(self, ctx: Any) -> tuple[str, str]:
        return REJECT, AGAIN


class Reject(_Decision):
    name, label, icon = "reject", "Reject", "close"

    def resolve_input(self, ctx: Any) -> Any:
        inputs = types.Object()
        choices = types.AutocompleteView(allow_user_input=True)
        for reason in REASONS:
            choices.add_choice(reason, label=reason)
        inputs.str("reason", label="Why?", view=choices, default=REASONS[0], required=True)
        return types.Property(inputs, view=types.View(label="Reject"))

    def decision(self, ctx: Any) -> tuple[str, str]:
        return REJECT, str(ctx.params.get("reason") or REASONS[0])


class FixClass(operators.Operator):
    """Gives the ticked defects, or all of the ticked samples, another class."""

    @property
    def config(self) -> Any:
        return operators.OperatorConfig(name="fix_class", label="Fix class", icon="label")

    def resolve_input(self, ctx: Any) -> Any:
        inputs = types.Object()
        choices = types.DropdownView()
        for name in ctx.dataset.default_classes:
            choices.add_choice(name, label=name)
        inputs.str("name", label="Class", view=choices, required=True)
        return types.Property(inputs, view=types.View(label="Fix class"))

    def execute(self, ctx: Any) -> dict[str, Any]:
        return _relabel(ctx, str(ctx.params["name"]))


class ReviewPanel(operators.Panel):
    """How far the review is, the balance of the classes, and the buttons."""

    @property
    def config(self) -> Any:
        return operators.PanelConfig(
            name=PANEL, label="Review", icon="fact_check", surfaces="grid modal"
        )

    def on_load(self, ctx: Any) -> None:
        ctx.panel.state.reason = ctx.panel.state.reason or REASONS[0]
        self._count(ctx)

    def on_change_selected(self, ctx: Any) -> None:
        self._count(ctx)

    def on_change_current_sample(self, ctx: Any) -> None:
        self._count(ctx)

    def accept(self, ctx: Any) -> None:
        _act(ctx, ACCEPT, "")
        self._count(ctx)

    def reject(self, ctx: Any) -> None:
        _act(ctx, REJECT, str(ctx.panel.get_state("reason") or REASONS[0]))
        self._count(ctx)

    def repaint(self, ctx: Any) -> None:
        _act(ctx, REJECT, AGAIN)
        self._count(ctx)

    def fix(self, ctx: Any) -> None:
        if name := ctx.panel.get_state("class_name"):
            _relabel(ctx, str(name))
        else:
            ctx.ops.notify("Choose a class first.", variant="warning")
        self._count(ctx)

    def _count(self, ctx: Any) -> None:
        ctx.panel.state.progress = _table(count_progress(ctx.dataset))

    def render(self, ctx: Any) -> Any:
        panel = types.Object()
        ticked = len(_targets(ctx))
        panel.md(f"**{ticked} ticked or open**" if ticked else NOTHING, name="ticked")
        panel.btn("accept", label="Accept (a)", on_click=self.accept, variant="contained")
        reasons = types.AutocompleteView(allow_user_input=True)
        for reason in REASONS:
            reasons.add_choice(reason, label=reason)
        panel.str("reason", label="Why reject?", view=reasons, default=REASONS[0])
        panel.btn("reject", label="Reject (r)", on_click=self.reject, variant="contained")
        panel.btn("repaint", label="Paint again (g)", on_click=self.repaint, variant="outlined")
        names = types.DropdownView()
        for name in ctx.dataset.default_classes:
            names.add_choice(name, label=name)
        panel.str("class_name", label="Class", view=names)
        panel.btn("fix", label="Fix class", on_click=self.fix, variant="outlined")
        panel.md(ctx.panel.get_state("progress") or "", name="progress_text")
        return types.Property(panel, view=types.GridView(orientation="vertical", gap=2, padding=2))


def _targets(ctx: Any) -> list[str]:
    """Return the ids of what is ticked, or else of what is open."""
    ticked = list(ctx.selected or [])
    return ticked or ([ctx.current_sample] if ctx.current_sample else [])


def _act(ctx: Any, verdict: str, reason: str) -> dict[str, Any]:
    count = decide(ctx.dataset, _targets(ctx), verdict, reason, _reviewer())
    _tell(ctx, count, f"{verdict}: {count} samples" + (f" ({reason})" if reason else ""))
    return {"count": count}


def _relabel(ctx: Any, name: str) -> dict[str, Any]:
    labels = [one["label_id"] for one in ctx.selected_labels or []]
    count = fix_class(ctx.dataset, _targets(ctx), labels, name, _reviewer())
    _tell(ctx, count, f"{count} defects are {name} now")
    return {"count": count}


def _tell(ctx: Any, count: int, text: str) -> None:
    if not count:
        ctx.ops.notify(NOTHING, variant="warning")
        return
    ctx.ops.notify(text, variant="success")
    ctx.ops.clear_selected_samples()
    ctx.ops.reload_samples()


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
    return os.environ.get("SYNTHGEN_REVIEWER") or getpass.getuser()


def register(plugin: Any) -> None:
    """Tell FiftyOne what this plugin has."""
    for one in (Accept, Reject, Repaint, FixClass, ReviewPanel):
        plugin.register(one)
