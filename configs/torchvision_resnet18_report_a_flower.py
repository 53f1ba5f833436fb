"""torchvision's ResNet-18 on the five flowers as in exercise 2 of report A.

Run:     python tools/train.py configs/torchvision_resnet18_report_a_flower.py
Expect:  report A's single run, 94.56 % validation top-1.
Differs: from configs/torchvision_resnet18_flower.py in augmentation: flips both ways, rotation, crop, colour jitter.
         The report does not name its model; for another: --cfg-options model.backbone.arch=resnet50
"""

_base_ = [
    '_base_/models/torchvision.py',
    '_base_/datasets/flower_224_report_a.py',
    '_base_/schedules/sgd_step_25e.py',
    '_base_/default_runtime.py',
]
