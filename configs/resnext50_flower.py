"""ResNeXt-50 (32x4d) on the five flowers, trained as the ResNet-50 baseline: report A, table 3.

Run:     python tools/train.py configs/resnext50_flower.py
Expect:  report A's single run on 568 photos: 97.18 % validation top-1.
Differs: the model only.
"""

_base_ = [
    '_base_/models/resnext50_32x4d.py',
    '_base_/datasets/flower_224.py',
    '_base_/schedules/sgd_constant_30e.py',
    '_base_/default_runtime.py',
]
