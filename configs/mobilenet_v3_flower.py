"""MobileNetV3 large on the five flowers, trained as the ResNet-50 baseline: report A, table 3.

Run:     python tools/train.py configs/mobilenet_v3_flower.py
Expect:  report A's single run on 568 photos: 95.42 % validation top-1.
Differs: the model only; the report does not say whether its MobileNet-v3 was the large or the small one.
"""

_base_ = [
    '_base_/models/mobilenet_v3_large.py',
    '_base_/datasets/flower_224.py',
    '_base_/schedules/sgd_constant_30e.py',
    '_base_/default_runtime.py',
]
