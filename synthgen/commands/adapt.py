"""synthgen adapt: teach a backend real defects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from synthgen.commands.bank import cut_bank, put_bank
from synthgen.commands.call import Setting, compose_call, translate_errors
from synthgen.config.objects import build, check_value, read_text, to_plain
from synthgen.progress import show_progress, tell
from synthgen.realdata.read import load_real
from synthgen.references.clean import CleanPhotos
from synthgen.references.items import BuildSettings
from synthgen.references.lending import BankSettings, References

if TYPE_CHECKING:
    from synthgen.training.adaptation.crops import RealExample
    from synthgen.training.adaptation.recipe import Paint, Recipe

__all__ = ["AdaptResult", "adapt", "run_adapt"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptResult:
    """What a backend has learned: ``generate({"experiment": adapter.folder})``.

    ``step``: the one that was kept, of least loss. ``loss`` and ``loss_before``: the loss on
    defects that were held back, after and before. ``curve``: step, loss, loss on what is held back.
    ``sheet``: held_back.png, real defects beside painted ones. ``bank``: bank.html, of the same.
    ``recipe``: the file that ``experiment`` reads, and ``reason`` why it says so. ``notes`` and
    ``warnings``: what to know of the data and before trusting the adapter.
    """

    folder: Path
    step: int
    loss: float
    loss_before: float
    curve: Sequence[tuple[int, float, float]]
    sheet: Path
    bank: Path
    recipe: Path
    reason: str
    seconds: float
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()


def adapt(
    *settings: Setting, quiet: bool = False, config_dir: Path | str | None = None
) -> AdaptResult:
    """Teach a backend real defects, as ``synthgen adapt`` does, and return the adapter.

    ``settings``, ``quiet`` and ``config_dir`` as of ``synthgen.generate``. The same call again
    continues one that was stopped. Raises SynthgenError.
    """
    with translate_errors(), show_progress(quiet):
        return run_adapt(compose_call("adapt", settings, config_dir))


def run_adapt(config: DictConfig) -> AdaptResult:
    """Make the adapter that a whole config describes."""
    from synthgen.backends.diffusion.backend import need_diffusion
    from synthgen.evaluation.recipe import choose_recipe
    from synthgen.training.adaptation.adapt import AdaptSettings, adapt_backend
    from synthgen.training.adaptation.folder import check_folder
    from synthgen.training.adaptation.recipe import BANK, RECIPE

    plain = to_plain(config)
    folder = Path(read_text(config, "out"))
    settings = check_value(AdaptSettings, plain["adapt"], "adapt")
    real, backend = (
        load_real(plain["real"]),
        need_diffusion(build(config.backend, "backend", ("paint", "describe")), "adapt"),
    )
    for note in real.notes:
        tell(note, "note")
    check_folder(folder)
    photos = CleanPhotos(real.images)  # the bank and the examples are of the same
    items = cut_bank(real, BuildSettings(splits=settings.splits), photos)

    def finish(
        taught: Sequence[RealExample],
        held: Sequence[RealExample],
        painters: Mapping[bool, Paint],
        seed: int,
    ) -> Recipe:
        put_bank(folder / BANK, items, real.notes)
        recipe = choose_recipe(taught, held, painters, seed, settings.choose)
        with_lines, images = References(items, BankSettings()).images_with_lines
        return replace(recipe, own_lines=2 * with_lines > images)

    done = adapt_backend(real.images, backend, settings, folder, finish, photos)
    step, _, loss = done.best
    return AdaptResult(
        folder=folder,
        step=step,
        loss=loss,
        loss_before=done.curve[0][2],
        curve=done.curve,
        sheet=folder / "held_back.png",
        bank=folder / BANK / "bank.html",
        recipe=folder / RECIPE,
        reason=done.recipe.reason,
        seconds=done.seconds,
        notes=real.notes,
        warnings=done.warnings,
    )
