"""DenseNet-121 on the five flowers, trained as the ResNet-50 baseline: the best backbone of report A.

Run:     python tools/train.py configs/densenet121_flower.py
Expect:  report A's single run on 568 photos: 97.71 % validation top-1.
Differs: the model only.
"""

_base_ = [
    '_base_/models/densenet121.py',
    '_base_/datasets/flower_224.py',
    '_base_/schedules/sgd_constant_30e.py',
    '_base_/default_runtime.py',
]
