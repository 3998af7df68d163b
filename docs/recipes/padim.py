"""Train and test anomalib's PaDiM on a run: it learns from good images, and finds the defects.

python docs/recipes/padim.py --run runs/demo --out runs/padim
"""

import argparse
import json
from pathlib import Path

from anomalib.data import MVTecAD
from anomalib.engine import Engine
from anomalib.metrics import AUPR, AUROC, Evaluator
from anomalib.models import Padim

from synthgen.exporting.formats.mvtec import Mvtec
from synthgen.exporting.labels import read_labels
from synthgen.exporting.media import Media
from synthgen.exporting.write import export

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--run", type=Path, required=True, help="a finished run folder")
parser.add_argument("--out", type=Path, required=True, help="where data/ and metrics.json go")
parser.add_argument("--layers", nargs="+", default=["layer1", "layer2", "layer3"])
parser.add_argument("--features", type=int, default=100, help="of the layers', drawn at random")
parser.add_argument("--size", type=int, default=256, help="images are resized to it, px")
parser.add_argument("--random-weights", action="store_true", help="no download; to try the path")
parser.add_argument("--workers", type=int, default=2)
args = parser.parse_args()

# Training takes the good images of the split train, testing all images of the others.
export(read_labels(args.run), {"mvtec": Mvtec()}, args.out / "data", Media("link"))
data = MVTecAD(
    root=args.out / "data" / "mvtec",
    category="part",
    num_workers=args.workers,
    val_split_mode="none",  # AUROC and AUPR need no threshold, so none is fitted to the test images
)
metrics = [
    AUROC(fields=["pred_score", "gt_label"], prefix="image_"),
    AUROC(fields=["anomaly_map", "gt_mask"], prefix="pixel_"),
    AUPR(fields=["anomaly_map", "gt_mask"], prefix="pixel_"),
]
model = Padim(
    backbone="resnet18",
    layers=args.layers,
    pre_trained=not args.random_weights,
    n_features=args.features,
    pre_processor=Padim.configure_pre_processor((args.size, args.size)),
    evaluator=Evaluator(test_metrics=metrics),
    visualizer=False,
)
quiet = {"logger": False, "enable_progress_bar": False}
engine = Engine(default_root_dir=args.out, limit_val_batches=0, **quiet)
engine.fit(model=model, datamodule=data)
[found] = engine.test(model=model, datamodule=data, verbose=False)
scores = {name: round(float(value), 4) for name, value in found.items()}
print(f"test, {len(data.test_data)} images: {scores}")
(args.out / "metrics.json").write_text(json.dumps(scores, indent=1) + "\n")
