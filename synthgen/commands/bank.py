"""synthgen bank: cut real defects out of their images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from omegaconf import DictConfig

from synthgen.commands.call import Setting, compose_call, translate_errors
from synthgen.config.objects import check_value, read_text, to_plain
from synthgen.progress import show_progress, tell, track
from synthgen.quality.bank import measure_visible
from synthgen.realdata.read import load_real
from synthgen.realdata.records import RealSet
from synthgen.references.clean import CleanPhotos
from synthgen.references.items import BankItem, BuildSettings, build_bank, write_bank
from synthgen.report.bank import write_bank_page

__all__ = ["Bank", "bank", "cut_bank", "put_bank", "run_bank"]


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class Bank:
    """Real defects that lend shapes and looks: ``generate({"bank.path": bank.folder})``.

    ``items``: each defect with its crop and masks. ``table``: one row per defect, as in
    bank.parquet. ``page``: bank.html. ``notes``: sentences on what was guessed or left out.
    """

    folder: Path
    items: Sequence[BankItem]
    table: pd.DataFrame
    page: Path
    notes: Sequence[str]

    def __repr__(self) -> str:
        return f"<Bank {self.folder}: {len(self.items)} defects>"


def bank(*settings: Setting, quiet: bool = False, config_dir: Path | str | None = None) -> Bank:
    """Cut real defects out of their images, as ``synthgen bank`` does, and return the bank.

    ``settings``, ``quiet`` and ``config_dir`` as of ``synthgen.generate``. Raises SynthgenError
    where the real images cannot be read, or hold no defect.
    """
    with translate_errors(), show_progress(quiet):
        return run_bank(compose_call("bank", settings, config_dir))


def run_bank(config: DictConfig) -> Bank:
    """Write the bank that a whole config describes."""
    plain = to_plain(config)
    folder = Path(read_text(config, "out"))
    settings = check_value(BuildSettings, plain["bank"], "bank")
    real = load_real(plain["real"])
    for note in real.notes:
        tell(note, "note")
    return put_bank(folder, cut_bank(real, settings), real.notes)


def cut_bank(
    real: RealSet, settings: BuildSettings, photos: CleanPhotos | None = None
) -> list[BankItem]:
    """Return the defects of real images, measured; raises SourceError where they cannot be cut."""
    cut = build_bank(real.images, settings, photos)
    return [measure_visible(item) for item in track(cut, "measuring the defects", unit="defects")]


def put_bank(folder: Path, items: Sequence[BankItem], notes: Sequence[str]) -> Bank:
    """Write a bank with its page; raises SourceError for no items."""
    table = write_bank(folder, items)
    page = write_bank_page(folder, items, notes)
    return Bank(folder=folder, items=items, table=table, page=page, notes=notes)
