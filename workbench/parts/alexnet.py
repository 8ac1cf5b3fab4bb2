"""AlexNet as torchvision has it, made a model of timm's: timm itself has none.

Krizhevsky, "One weird trick for parallelizing convolutional neural networks", arXiv:1404.5997.
`import_timm` imports this module (see `own_models`), so the model is registered wherever timm is.
"""

from typing import Any

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

_POOL = 6


class AlexNet(nn.Module):
    """torchvision's AlexNet: its layers, its names of tensors, and timm's way to use a model.

    As with timm's VGG, the features of an image are what the classifier's hidden layers make of it.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_chans: int = 3,
        drop_rate: float = 0.5,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.in_chans = in_chans
        self.num_features = 256
        self.head_hidden_size = 4096
        self.features = nn.Sequential(
            nn.Conv2d(in_chans, 64, kernel_size=11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(64, 192, kernel_size=5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(192, 384, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, self.num_features, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(_POOL)
        self.classifier = nn.Sequential(
            nn.Dropout(drop_rate),
            nn.Linear(self.num_features * _POOL**2, self.head_hidden_size),
            nn.ReLU(inplace=True),
            nn.Dropout(drop_rate),
            nn.Linear(self.head_hidden_size, self.head_hidden_size),
            nn.ReLU(inplace=True),
            nn.Identity(),
        )
        self.reset_classifier(num_classes)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Return how timm tells the layers apart, from the image up."""
        return {
            "stem": r"^features\.0",
            "blocks": r"^features\.(\d+)",
            "hidden": r"^classifier\.([14])",
        }

    def get_classifier(self) -> nn.Module:
        """Return the last layer."""
        return self.classifier[-1]

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put in a new last layer for `num_classes`; none for 0."""
        self.num_classes = num_classes
        width = self.head_hidden_size
        self.classifier[-1] = nn.Linear(width, num_classes) if num_classes else nn.Identity()

    def forward_features(self, x: Tensor) -> Tensor:
        """Return the (batch, 256, height, width) map of (batch, in_chans, H, W) images."""
        return self.features(x)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Return the logits of a map, or the (batch, 4096) features before them."""
        x = self.avgpool(x).flatten(1)
        return self.classifier[:-1](x) if pre_logits else self.classifier(x)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of images, or their features where there is no last layer."""
        return self.forward_head(self.forward_features(x))


default_cfgs = generate_default_cfgs(
    {
        "alexnet.tv_in1k": {
            "url": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
            "num_classes": 1000,
            "input_size": (3, 224, 224),
            "interpolation": "bilinear",
            "crop_pct": 0.875,
            "mean": IMAGENET_DEFAULT_MEAN,
            "std": IMAGENET_DEFAULT_STD,
            "first_conv": "features.0",
            "classifier": "classifier.6",
            "license": "bsd-3-clause",
            "paper_ids": "arXiv:1404.5997",
        }
    }
)


def alexnet(pretrained: bool = False, **settings: Any) -> AlexNet:
    """Return AlexNet; timm calls this by its name, with the settings that a model of it has."""
    return build_model_with_cfg(AlexNet, "alexnet", pretrained, **settings)


register_model(alexnet)
