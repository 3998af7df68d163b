"""Train a U-Net on a run, alone or mixed with real images: the class of each pixel.

python docs/recipes/unet.py --run runs/demo --epochs 30 --out runs/unet
"""

import argparse
import json
from pathlib import Path

import lightning
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from torchmetrics.classification import BinaryPrecisionRecallCurve
from torchvision.transforms import v2
from torchvision.tv_tensors import Image, Mask

from synthgen.exporting.labels import read_labels
from synthgen.exporting.mix import mix, read_real_images
from synthgen.training.datamodule import DefectDataModule

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--run", type=Path, required=True, help="a finished run folder")
parser.add_argument("--out", type=Path, required=True, help="where model.pt, metrics.json go")
parser.add_argument("--real", type=Path, help="real images in COCO or MVTec AD layout")
parser.add_argument("--synthetic-per-real", type=float, help="in train; default: each image once")
parser.add_argument("--real-last", type=float, default=0, help="of the epochs: real images alone")
parser.add_argument("--epochs", type=int, default=30)
parser.add_argument("--crop", type=int, default=256, help="side of the training crops, x 32 px")
parser.add_argument("--batch", type=int, default=8)
parser.add_argument("--workers", type=int, default=2)
args = parser.parse_args()
args.out.mkdir(parents=True)


class Segmenter(lightning.LightningModule):
    def __init__(self, num_classes):
        super().__init__()
        self.net = smp.Unet("resnet18", encoder_weights=None, classes=num_classes)
        self.dice = smp.losses.DiceLoss("multiclass", ignore_index=255)

    def forward(self, images):  # of any size; the network wants multiples of 32
        height, width = images.shape[-2:]
        padded = F.pad(images, (0, -width % 32, 0, -height % 32), mode="replicate")
        return self.net(padded)[..., :height, :width]

    def training_step(self, batch, number):
        scores = self(batch[0])
        loss = F.cross_entropy(scores, batch[1], ignore_index=255) + self.dice(scores, batch[1])
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(batch[0]))
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


@torch.no_grad()
def measure(model, loader):  # defect or good, pixel by pixel: average precision, F1 by threshold
    curve = BinaryPrecisionRecallCurve(thresholds=255, ignore_index=255)
    model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
    for images, classes in loader:
        defect = 1 - model(images.to(model.device)).softmax(1)[:, 0].cpu()
        curve.update(defect, torch.where(classes == 255, 255, (classes > 0).long()))
    precision, recall, _ = curve.compute()  # precision is nan where no pixel is above
    average = ((recall[:-1] - recall[1:]) * precision[:-1].nan_to_num(0)).sum()
    return float(average), (2 * precision * recall / (precision + recall)).nan_to_num(0)


lightning.seed_everything(0)
labels = read_labels(args.run)
if args.real:  # the val and test images are real ones then; synthetic ones are for training only
    labels = mix(labels, read_real_images(args.real), None, seed=0).labels
crop = v2.RandomCrop(args.crop, pad_if_needed=True, fill={Image: 0, Mask: 255})  # 255: ignored
flips = [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()]
train = v2.Compose([crop, *flips, v2.ToDtype(torch.float32, scale=True)])
how = {"synthetic_per_real": args.synthetic_per_real, "real_last": args.real_last}
how["workers"] = args.workers
data = DefectDataModule(labels, args.batch, 1, target="semantic", transforms=train, **how)
model = Segmenter(data.num_classes)
before, _ = measure(model, data.test_dataloader())
quiet = {"logger": False, "enable_checkpointing": False, "limit_val_batches": 0}
trainer = lightning.Trainer(max_epochs=args.epochs, enable_progress_bar=False, **quiet)
trainer.fit(model.train(), datamodule=data)
chosen_on = data.val_dataloader() if "val" in labels.splits else data.train_dataloader()
threshold = measure(model, chosen_on)[1].argmax()
after, f1 = measure(model, data.test_dataloader())
print(f"loss of the last epoch {trainer.callback_metrics['loss']:.4f}")
scores = {"pixel_ap": after, "pixel_f1": float(f1[threshold]), "pixel_ap_untrained": before}
print(f"test, {len(labels.of_split('test'))} images: {scores}")
torch.save(model.state_dict(), args.out / "model.pt")
(args.out / "metrics.json").write_text(json.dumps(scores, indent=1) + "\n")
