"""Train torchvision's Mask R-CNN on a run, alone or mixed with real images.

python docs/recipes/mask_rcnn.py --run runs/demo --epochs 20 --out runs/mask-rcnn
"""

import argparse
import json
from pathlib import Path

import torch
from torchmetrics.detection import MeanAveragePrecision
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.transforms import v2

from synthgen.exporting.labels import read_labels
from synthgen.exporting.mix import mix, read_real_images
from synthgen.training.datamodule import DefectDataModule
from synthgen.training.dataset import BoxesFromMasks

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--run", type=Path, required=True, help="a finished run folder")
parser.add_argument("--out", type=Path, required=True, help="where model.pt, metrics.json go")
parser.add_argument("--real", type=Path, help="real images in COCO or MVTec AD layout")
parser.add_argument("--synthetic-per-real", type=float, help="in train; default: each image once")
parser.add_argument("--real-last", type=float, default=0, help="of the epochs: real images alone")
parser.add_argument("--weights", type=Path, help="a state dict to start from")
parser.add_argument("--epochs", type=int, default=20)
parser.add_argument("--size", type=int, default=512, help="short side that the network sees, px")
parser.add_argument("--batch", type=int, default=2)
parser.add_argument("--workers", type=int, default=2)
args = parser.parse_args()
args.out.mkdir(parents=True)

torch.manual_seed(0)
device = "cuda" if torch.cuda.is_available() else "cpu"
labels = read_labels(args.run)
if args.real:  # the test images are real ones then; synthetic images are for training only
    labels = mix(labels, read_real_images(args.real), None, seed=0).labels
flips = [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()]
data = DefectDataModule(
    labels,
    batch_size=args.batch,
    transforms=v2.Compose([*flips, BoxesFromMasks(), v2.ToDtype(torch.float32, scale=True)]),
    synthetic_per_real=args.synthetic_per_real,
    real_last=args.real_last,
    epochs=args.epochs,
    workers=args.workers,
)
size = {"min_size": args.size, "max_size": 2 * args.size}
model = maskrcnn_resnet50_fpn(
    weights=None, weights_backbone=None, num_classes=data.num_classes, **size
).to(device)
if args.weights:  # heads for other classes do not fit and stay random
    given = torch.load(args.weights, map_location=device, weights_only=True)
    own = model.state_dict()
    fitting = {k: v for k, v in given.items() if k in own and v.shape == own[k].shape}
    model.load_state_dict(fitting, strict=False)
    print(f"{len(fitting)} of {len(own)} tensors are from {args.weights}")

optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
loader = data.train_dataloader()
for epoch in range(args.epochs):
    if args.synthetic_per_real is not None:
        loader.sampler.set_epoch(epoch)
    model.train()
    total = 0.0
    for images, targets in loader:
        moved = [{k: v.to(device) for k, v in t.items() if k != "image_id"} for t in targets]
        loss = sum(model([image.to(device) for image in images], moved).values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        total += loss.item()
    print(f"epoch {epoch + 1} loss {total / len(loader):.4f}", flush=True)

metric = MeanAveragePrecision(iou_type=("bbox", "segm"), backend="faster_coco_eval")
model.eval()
for images, targets in data.test_dataloader():
    with torch.no_grad():
        found = model([image.to(device) for image in images])
    found = [{k: v.cpu() for k, v in one.items()} for one in found]
    metric.update(
        [one | {"masks": one["masks"][:, 0] > 0.5} for one in found],
        [target | {"masks": target["masks"].bool()} for target in targets],
    )
computed = metric.compute()
wanted = ("bbox_map", "bbox_map_50", "segm_map", "segm_map_50")
scores = {name: round(float(computed[name]), 4) for name in wanted}
print(f"test, {len(labels.of_split('test'))} images: {scores}")
torch.save(model.state_dict(), args.out / "model.pt")
(args.out / "metrics.json").write_text(json.dumps(scores, indent=1) + "\n")
