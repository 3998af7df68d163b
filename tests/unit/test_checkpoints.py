"""Checkpoints: found by path and by hub id, whole, safetensors only, digests kept, licences."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from synthgen.backends.checkpoints import digests
from synthgen.backends.checkpoints.digests import LARGE_BYTES, cache_file, file_digest
from synthgen.backends.checkpoints.find import (
    EMBEDDED,
    Checkpoint,
    checkpoint_digest,
    describe_models,
    find_checkpoint,
    find_weights,
)
from synthgen.backends.checkpoints.hub import wanted_files
from synthgen.backends.checkpoints.licences import describe_licence, read_licence
from synthgen.errors import ModelError
from tests import starter
from tests.checkpoints import COMMIT, put_into_hub, save_tiny_stable_diffusion

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return save_tiny_stable_diffusion(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def copy(tiny, tmp_path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def test_the_embedded_model_keeps_its_digest_and_states_its_licence() -> None:
    found = find_checkpoint(EMBEDDED)
    whole = hashlib.sha256()
    for path in sorted(found.folder.rglob("*")):
        if path.suffix in {".safetensors", ".json", ".txt"}:
            whole.update(str(path.relative_to(found.folder)).encode() + path.read_bytes())
    assert found.digest == whole.hexdigest()[:16]
    assert (found.licence, found.revision, found.variant) == ("Apache-2.0", None, None)
    assert found.class_name == "PatchControlNetInpaintPipeline"
    assert set(found.weights) == {
        "controlnet/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
        UNET,
    }
    content = (found.folder / UNET).read_bytes()
    assert found.weights[UNET] == hashlib.sha256(content).hexdigest()


def test_a_folder_and_one_model_of_it(tiny) -> None:
    found = find_checkpoint(str(tiny))
    assert found.class_name == "StableDiffusionControlNetInpaintPipeline"
    assert len(found.weights) == 4
    assert found.licence is None
    one = find_checkpoint(str(tiny / "controlnet"), key="backend.controlnets", is_pipeline=False)
    assert (one.class_name, len(one.weights)) == ("ControlNetModel", 1)
    with pytest.raises(
        ModelError, match=r"backend\.x=.* holds no diffusers model, it is a whole pipeline"
    ):
        find_checkpoint(str(tiny), key="backend.x", is_pipeline=False)


def test_a_hub_id_is_found_in_the_cache_by_branch_and_by_commit(
    tiny, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    snapshot = put_into_hub(tiny, tmp_path, "someone/tiny")
    found = find_checkpoint("someone/tiny")
    assert (found.folder, found.revision) == (snapshot, COMMIT)
    assert found.digest == checkpoint_digest(tiny)
    assert find_checkpoint("someone/tiny", revision=COMMIT) == found
    asked: list[str] = []
    with monkeypatch.context() as online:
        online.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        online.setattr("socket.getaddrinfo", lambda host, *_, **__: asked.append(host) or [])
        for name, revision in (("someone/other", None), ("someone/tiny", "v2")):
            with pytest.raises(ModelError, match=f"hf download {name}.*offline=false"):
                find_checkpoint(name, revision=revision)
        assert asked == []  # so nothing is waited for
        with pytest.raises(ModelError):
            find_checkpoint("someone/other", offline=False)
        assert asked
    with pytest.raises(ModelError, match="no such folder, and no model of that name"):
        find_checkpoint("someone/other")
    with pytest.raises(ModelError, match="no such folder, and it is not an id of the model hub"):
        find_checkpoint("not/a/folder")


def test_a_damaged_file_of_the_hub_is_told_by_its_name(tiny, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    blob = (put_into_hub(tiny, tmp_path, "someone/tiny") / UNET).resolve()
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    with pytest.raises(ModelError, match=r"diffusion_pytorch_model\.safetensors is damaged"):
        find_checkpoint("someone/tiny")


def test_painting_from_the_cache_says_no_word_to_the_network(tiny, tmp_path) -> None:
    put_into_hub(tiny, tmp_path, "someone/tiny")
    code = """
import sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        sys.stderr.write(f"NETWORK {event} {arguments}"); raise OSError("no network here")
sys.addaudithook(refuse)
from diffusers import DiffusionPipeline
from synthgen.backends.checkpoints.find import find_checkpoint
found = find_checkpoint("someone/tiny")
DiffusionPipeline.from_pretrained(
    str(found.folder), local_files_only=True, use_safetensors=True, variant=found.variant
)
print(found.revision)
"""
    environment = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"}
    environment |= {"HF_HUB_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert "NETWORK" not in done.stderr
    assert (done.stdout.strip(), done.returncode) == (COMMIT, 0), done.stderr


def _pickle(folder: Path) -> None:
    weights = folder / UNET
    torch.save({"a": torch.zeros(1)}, weights.with_suffix(".bin"))
    weights.unlink()


def _pickle_in_disguise(folder: Path) -> None:
    torch.save({"a": torch.zeros(1)}, folder / UNET)


def _pickle_with_another_suffix(folder: Path) -> None:
    (folder / UNET).rename(folder / "unet" / "x.weights")
    torch.save({"a": torch.zeros(1)}, folder / "unet" / "x.weights")


def _cut(folder: Path) -> None:
    (folder / UNET).write_bytes((folder / UNET).read_bytes()[:-1])


def _cut_in_the_header(folder: Path) -> None:
    (folder / UNET).write_bytes((folder / UNET).read_bytes()[:500])


def _fill_with_noise(folder: Path) -> None:
    (folder / UNET).write_bytes(np.random.default_rng(0).bytes(4096))


def _empty(folder: Path) -> None:
    (folder / UNET).write_bytes(b"")


def _leave_a_pointer(folder: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n"
    (folder / UNET).write_text(pointer)


def _break_json(folder: Path) -> None:
    (folder / "scheduler" / "scheduler_config.json").write_text("{")


def _break_index(folder: Path) -> None:
    (folder / "model_index.json").write_text("[]")


def _lose_a_part(folder: Path) -> None:
    shutil.rmtree(folder / "vae")


def _lose_a_config(folder: Path) -> None:
    (folder / "vae" / "config.json").unlink()


def _lose_weights(folder: Path) -> None:
    (folder / UNET).unlink()


def _lose_a_shard(folder: Path) -> None:
    index = {"weight_map": {"a": "diffusion_pytorch_model-00002-of-00002.safetensors"}}
    path = folder / "unet" / "diffusion_pytorch_model.safetensors.index.json"
    path.write_text(json.dumps(index))


def _bring_a_pipeline(folder: Path) -> None:
    _change_index(folder, "_class_name", ["pipeline", "MyPipeline"])


def _bring_a_model(folder: Path) -> None:
    (folder / "unet" / "my_unet.py").write_text("raise SystemExit('run')\n")
    _change_index(folder, "unet", ["my_unet", "MyUNet"])


def _change_index(folder: Path, key: str, value: object) -> None:
    path = folder / "model_index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_pickle, r"\.bin is a pickle, which can run code"),
        (_pickle_in_disguise, r"is a pickle under another name"),
        (_pickle_with_another_suffix, r"x\.weights is a pickle"),
        (_cut, r"cut short, [\d,]+ of [\d,]+ bytes"),
        (_cut_in_the_header, r"cut short, 500 of"),
        (_fill_with_noise, r"not a safetensors file, or damaged"),
        (_empty, r"not a safetensors file, or damaged"),
        (_leave_a_pointer, r"run `git lfs pull`"),
        (_break_json, r"scheduler_config\.json is damaged, it is not JSON"),
        (_break_index, r"model_index\.json is damaged, it holds no JSON object"),
        (_lose_a_part, r"its folder 'vae' is missing"),
        (_lose_a_config, r"vae/config\.json is missing"),
        (_lose_weights, r"unet holds no weights"),
        (_lose_a_shard, r"00002-of-00002\.safetensors, which .*index\.json names, is missing"),
        (_bring_a_pipeline, r"names a pipeline of its own .* would run code"),
        (_bring_a_model, r"'unet' is a MyUNet of 'my_unet', .* is not run"),
    ],
)
def test_what_is_spoiled_is_refused_in_one_sentence(copy, spoil, sentence) -> None:
    find_checkpoint(str(copy))
    spoil(copy)
    with pytest.raises(ModelError, match=sentence) as refused:
        find_checkpoint(str(copy))
    assert "\n" not in str(refused.value)


def test_what_is_harmless_is_taken(copy) -> None:
    torch.save(
        {}, copy / "unet" / "diffusion_pytorch_model.bin"
    )  # beside its safetensors near duplicate
    (copy / "pipeline.py").write_text("raise SystemExit('run')\n")
    _change_index(copy, "safety_checker", ["stable_diffusion", "StableDiffusionSafetyChecker"])
    save_file({"a": torch.zeros(9)}, copy / "v1-5-pruned.safetensors")  # never loaded
    before = checkpoint_digest(copy)
    (copy / "v1-5-pruned.safetensors").unlink()
    assert find_checkpoint(str(copy)).digest == before


def test_weights_of_one_variant_and_shards_load(copy) -> None:
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(copy / "unet", local_files_only=True)
    (copy / UNET).unlink()
    unet.save_pretrained(copy / "unet", variant="fp16", max_shard_size="60KB")
    found = find_checkpoint(str(copy))
    assert found.variant == "fp16"
    shards = [name for name in found.weights if name.startswith("unet/")]
    assert len(shards) > 1
    again = UNet2DConditionModel.from_pretrained(copy / "unet", variant=found.variant)
    assert torch.equal(again.conv_in.weight, unet.conv_in.weight)
    (copy / shards[0]).unlink()
    with pytest.raises(ModelError, match="is missing; copy or download it again"):
        find_checkpoint(str(copy))


def test_one_set_of_weights_is_downloaded() -> None:
    files = [
        *("README.md", "model_index.json", "v1-5-pruned.safetensors", "v1-5-pruned.ckpt"),
        *("unet/config.json", UNET, "unet/diffusion_pytorch_model.fp16.safetensors"),
        *("unet/diffusion_pytorch_model.non_ema.safetensors", "unet/diffusion_pytorch_model.bin"),
        *("vae/config.json", "vae/diffusion_pytorch_model.fp16.safetensors"),
        "text_encoder/model-00001-of-00002.safetensors",
        "text_encoder/model.safetensors.index.json",
        "text_encoder/model.safetensors.index.fp16.json",
        *("text_encoder/openvino_model.xml", "unet/my_unet.py", "images/a.png"),
    ]
    assert wanted_files(files, "pipeline") == [
        *("README.md", "model_index.json"),
        "text_encoder/model-00001-of-00002.safetensors",
        "text_encoder/model.safetensors.index.json",
        *("unet/config.json", UNET),
        *("vae/config.json", "vae/diffusion_pytorch_model.fp16.safetensors"),
    ]
    files = ["config.json", "diffusion_pytorch_model.safetensors", "a/b.safetensors", "x.bin"]
    assert wanted_files(files, "model") == files[:2]
    files = ["pytorch_lora_weights.safetensors", "a/b.safetensors", "README.md", "x.bin"]
    assert wanted_files(files, "adapter") == [files[0], files[2]]


def test_a_file_of_weights(tmp_path) -> None:
    path = tmp_path / "lora" / "mine.safetensors"
    path.parent.mkdir()
    save_file({"a": torch.zeros(3)}, path)
    assert find_weights(str(path), "adapter") == find_weights(str(path.parent), "adapter") == path
    record = describe_models({"adapter mine": path})["adapter mine"]
    assert record["weights"] == {"mine.safetensors": file_digest(path)}
    save_file({"a": torch.zeros(3)}, path.with_name("other.safetensors"))
    with pytest.raises(ModelError, match=r"adapter=.*several files \(mine.*, other.*\)"):
        find_weights(str(path.parent), "adapter")
    torch.save({}, tmp_path / "x.pt")
    with pytest.raises(ModelError, match=r"not a \.safetensors file"):
        find_weights(str(tmp_path / "x.pt"), "adapter")
    with pytest.raises(ModelError, match="no such folder"):
        find_weights(str(tmp_path / "gone"), "adapter")


@pytest.fixture
def large(tmp_path, monkeypatch) -> Path:
    """A sparse file of weights that is just large enough, and an empty cache for digests."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    header = json.dumps({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, LARGE_BYTES]}})
    path = tmp_path / "large.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header.encode())
    os.truncate(path, 8 + len(header) + LARGE_BYTES)
    return path


def test_a_large_file_is_read_once_and_again_when_it_changed(large, monkeypatch) -> None:
    first = file_digest(large)
    assert first == hashlib.sha256(large.read_bytes()).hexdigest()
    entries = json.loads(cache_file().read_text())
    assert entries[str(large)][-1] == first
    entries[str(large)][-1] = "from the cache"
    cache_file().write_text(json.dumps(entries))
    assert file_digest(large) == "from the cache"
    with large.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"x")
    os.utime(large, ns=(0, 1))
    assert file_digest(large) == hashlib.sha256(large.read_bytes()).hexdigest() != first


@pytest.mark.parametrize("content", ["{", "[1]", '{"x": 3}', None])
def test_a_lost_or_damaged_cache_costs_time_alone(large, content) -> None:
    expected = file_digest(large)
    cache_file().unlink()
    if content is None:
        cache_file().mkdir()  # cannot be read, nor written
    else:
        cache_file().write_text(content)
    assert file_digest(large) == expected


def test_several_processes_keep_digests_at_once(large, tmp_path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from synthgen.backends.checkpoints.digests import file_digest\n"
        "for path in sys.argv[1:]: file_digest(Path(path))"
    )
    copies = [Path(shutil.copy(large, tmp_path / f"{n}.safetensors")) for n in range(3)]
    command = ("-c", code, *map(str, copies))
    runs = [starter.start(*command, stderr=starter.DEVNULL) for _ in range(3)]
    assert [run.wait() for run in runs] == [0, 0, 0]
    entries = json.loads(cache_file().read_text())
    assert {entry[-1] for entry in entries.values()} == {file_digest(large)}
    assert [path.name for path in cache_file().parent.iterdir()] == ["digests.json"]


def test_small_files_are_not_kept(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    find_checkpoint(EMBEDDED)
    assert not digests.cache_file().exists()


@pytest.mark.parametrize(
    ("files", "licence"),
    [
        ({"README.md": "---\nlicense: creativeml-openrail-m\n---\n"}, "creativeml-openrail-m"),
        (
            {"README.md": "---\nlicense: other\nlicense_name: flux-nc\nlicense_link: L.md\n---\n"},
            "flux-nc (L.md)",
        ),
        ({"README.md": "---\nlicense: other\n---\n", "LICENSE.md": "# My  Terms\nx"}, "other"),
        ({"README.md": "---\nlicense: [mit, apache-2.0]\n---\n"}, "mit, apache-2.0"),
        ({"README.md": "---\n: [\n---\n", "LICENSE": "\n\nMIT License\nmore"}, "MIT License"),
        ({"README.md": "# A\n\n| Licence | Apache-2.0 |\n"}, "Apache-2.0"),
        ({"README.md": "Ask about the license: first.\n"}, None),
        ({"README.md": "| Licence | of those in `a.yaml` |\n"}, "of those in `a.yaml`"),
        ({"README.md": "| Licence | `MIT` or `Apache-2.0` |\n"}, "`MIT` or `Apache-2.0`"),
        ({"README.md": "| Licence | ` |\n"}, None),
        ({"README.md": "| Licence | `` |\n"}, None),
        ({"LICENSE": "\n"}, None),
        ({}, None),
    ],
)
def test_licences_are_read_and_never_guessed(tmp_path, files, licence) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert read_licence(tmp_path) == licence
    assert ("none is stated" in describe_licence(licence)) == (licence is None)


def test_what_a_run_records(tiny) -> None:
    found: Checkpoint = find_checkpoint(str(tiny))
    record = describe_models({"checkpoint": found})["checkpoint"]
    assert record["digest"] == found.digest
    assert record["weights"] == dict(found.weights)
    assert record["class"] == "StableDiffusionControlNetInpaintPipeline"


def test_a_run_keeps_and_prints_the_licence_of_its_model(tmp_path, capsys) -> None:
    from synthgen.config.build import collect_facts, set_up
    from synthgen.config.compose import compose
    from synthgen.config.objects import to_plain
    from synthgen.runs.folder import open_run
    from synthgen.runs.progress import summarise
    from synthgen.storage.places import StoredFile

    config = compose("generate", ["debug=smoke", "run.count=2"])
    job = set_up(config)
    facts = collect_facts(job)
    assert facts["models"]["checkpoint"]["weights"] == dict(find_checkpoint(EMBEDDED).weights)
    run = open_run(tmp_path / "run", to_plain(config), job.specs, facts)
    summarise(run.root, run.merge(), StoredFile.at(tmp_path / "x"))
    sentence = "the model's licence: Apache-2.0; its terms apply to what you make with it"
    assert capsys.readouterr().out.count(sentence) == 1
